"""A disk that fills up during a download: a small tmpfs in a separate user namespace."""

from __future__ import annotations

import random
import re
import textwrap
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz, zip_of
from tests.fakes.namespaces import NAMESPACE
from tests.fakes.origin import Origin
from tests.fakes.processes import start


@pytest.mark.parametrize("name", ["/m.tar.gz", "/m.zip"])
def test_the_error_for_a_full_disk_says_what_is_needed_and_nothing_is_left(name: str, origin: Origin, cache_dir: Path) -> None:
    weights = {"saved_model.pb": random.Random(7).randbytes(4 << 20)}
    handle = origin.put(name, (zip_of if name.endswith("zip") else tar_gz)(weights))
    code = """
        import sys
        from tfimm_resolver import errors, resolve
        try:
            resolve(sys.argv[1])
        except errors.CacheError as error:
            print(error, os.listdir(root))
    """
    cache_dir.mkdir()
    job = start(textwrap.dedent(NAMESPACE) + textwrap.dedent(code), handle)
    out, err = job.communicate(timeout=60)
    if job.returncode == 77:
        pytest.skip("this machine forbids user namespaces, which the test needs for a small disk")
    assert job.returncode == 0, err
    needed, free = (float(number) for number in re.findall(r"([\d.]+) MB", out))
    assert "is full" in out and 4 < needed < 4.6 and free < 3.2, out
    assert out.strip().endswith("[]")


@pytest.mark.parametrize("limit", ["TFIMM_RESOLVER_MAX_SIZE", "TFIMM_RESOLVER_MIN_FREE", "TFIMM_RESOLVER_MAX_AGE", ""])
def test_a_full_disk_is_freed_once_if_models_may_be_evicted(limit: str, origin: Origin, cache_dir: Path) -> None:
    for number in range(3):
        weights = {"saved_model.pb": random.Random(number).randbytes(700_000 - 150_000 * number)}
        origin.put(f"/m{number}.tar.gz", tar_gz(weights))
    code = """
        import pathlib, sys
        from tfimm_resolver import errors, resolve
        in_use = resolve(f"{sys.argv[1]}/m0.tar.gz")
        if os.fork() == 0:
            resolve(f"{sys.argv[1]}/m1.tar.gz")
            os._exit(0)
        os.wait()
        for path in sorted(pathlib.Path(root).rglob("*"), reverse=True):
            os.utime(path, (1, 1))
        try:
            with open(f"{root}/filler", "wb") as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
        except OSError:
            pass
        try:
            path = resolve(f"{sys.argv[1]}/m2.tar.gz")
            print(os.path.getsize(f"{path}/saved_model.pb"), end=" ")
        except errors.CacheError as error:
            print("is full" in str(error) or "No space" in str(error), end=" ")
        print(os.path.exists(in_use), sum(other.is_dir() for other in pathlib.Path(root).iterdir()))
    """
    cache_dir.mkdir()
    value = {"TFIMM_RESOLVER_MIN_FREE": "1B", "TFIMM_RESOLVER_MAX_AGE": "99999w"}.get(limit, "1TB")
    environment = {limit: value} if limit else {}
    job = start(textwrap.dedent(NAMESPACE) + textwrap.dedent(code), origin.url, **environment)
    out, err = job.communicate(timeout=60)
    if job.returncode == 77:
        pytest.skip("this machine forbids user namespaces, which the test needs for a small disk")
    assert job.returncode == 0, err
    assert out.split() == (["400000", "True", "2"] if limit else ["True", "True", "2"]), err


@pytest.mark.parametrize("inodes", [6, 9, 12, 14])
def test_the_error_for_a_disk_without_inodes_says_so_and_nothing_is_left(inodes: int, origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz({f"assets/{number}": b"x" for number in range(20)} | {"saved_model.pb": b"g"}))
    code = """
        import sys
        from tfimm_resolver import errors, resolve
        try:
            resolve(sys.argv[1])
        except errors.CacheError as error:
            print(error, os.listdir(root))
    """
    cache_dir.mkdir()
    assert "size=2m" in NAMESPACE
    namespace = NAMESPACE.replace("size=2m", f"size=2m,nr_inodes={inodes}")
    job = start(textwrap.dedent(namespace) + textwrap.dedent(code), handle)
    out, err = job.communicate(timeout=60)
    if job.returncode == 77:
        pytest.skip("this machine forbids user namespaces, which the test needs for a small disk")
    assert job.returncode == 0, err
    assert "no inodes" in out and "df -i" in out, out
    assert out.strip().endswith("[]")
