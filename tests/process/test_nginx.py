"""Many machines with empty caches behind one caching reverse proxy, a real nginx: the origin sends the archive once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import files_in
from tests.fakes.faults import archive, files
from tests.fakes.faults.origin import Host, answer_with
from tests.fakes.nginx import PROGRAM, Nginx
from tests.fakes.processes import start
from tfimm_resolver import resolve
from tfimm_resolver.cache.cache import entry_name_for_key

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="nginx is not installed (Debian's nginx-light)")

MACHINES = 8
SIZE_BYTES = 20 << 20  # three ranges
COMMON = """
    proxy_cache models;
    proxy_cache_lock on;
    proxy_cache_lock_timeout 1h;
    proxy_cache_lock_age 1h;
    proxy_cache_valid 200 206 1y;
"""
# That of the guide "Mirrors and proxies"; without slices nginx requests the complete file, and other ranges wait for it.
SLICES = COMMON + "slice 8m; proxy_set_header Range $slice_range; proxy_cache_key $uri$is_args$args$slice_range;"
RESOLVE = "import sys, tfimm_resolver; print(tfimm_resolver.resolve(sys.argv[1]))"


@pytest.fixture
def host() -> Iterator[Host]:
    """The origin."""
    with Host() as server:
        yield server


def make_proxy(host: Host, options: str, folder: Path) -> Nginx:
    """Return an nginx in front of the origin."""
    netloc = f"127.0.0.1:{host.port}"
    location = f"location /{netloc}/ {{ proxy_pass http://{netloc}/; proxy_redirect http://{netloc}/ /{netloc}/; {options} }}"
    return Nginx(folder / "nginx", location)


def resolve_on(machines: int, handle: str, nginx: Nginx, folder: Path) -> list[dict[str, bytes]]:
    """Resolve on so many machines at once, each with an empty cache; return the files that each gets."""
    jobs = [
        start(RESOLVE, handle, TFHUB_CACHE_DIR=str(folder / f"machine{number}"), TFIMM_RESOLVER_MIRRORS=nginx.url)
        for number in range(machines)
    ]
    try:
        outputs = [job.communicate(timeout=120) for job in jobs]
    finally:
        for job in jobs:
            job.kill()
            job.wait()
    assert [job.returncode for job in jobs] == [0] * machines, (outputs, nginx.read_log())
    return [files_in(folder / f"machine{number}" / entry_name_for_key(handle)) for number in range(machines)]


@pytest.mark.parametrize("options", [SLICES, COMMON], ids=["slices", "complete"])
def test_eight_cold_machines_cost_the_origin_one_download(options: str, host: Host, tmp_path: Path) -> None:
    handle = host.put("/m.tar.gz", archive(SIZE_BYTES))
    with make_proxy(host, options, tmp_path) as nginx:
        assert resolve_on(MACHINES, handle, nginx, tmp_path) == [files(SIZE_BYTES)] * MACHINES
        assert nginx.count_cached_bytes() > SIZE_BYTES
    assert host.count_sent_bytes() == len(archive(SIZE_BYTES)), [(one.status, one.sent) for one in host.requests]


def test_a_redirect_is_followed_through_the_proxy(host: Host, tmp_path: Path) -> None:
    host.put("/google/model/1?tf-hub-format=compressed", b"", answer_with(302, b"", Location=f"{host.url}/bucket/m.tar.gz"))
    host.put("/bucket/m.tar.gz", archive(SIZE_BYTES))
    with make_proxy(host, SLICES, tmp_path) as nginx:
        assert resolve_on(2, f"{host.url}/google/model/1", nginx, tmp_path) == [files(SIZE_BYTES)] * 2
    assert host.count_sent_bytes() == len(archive(SIZE_BYTES))


def test_cached_files_are_served_without_the_origin_and_others_are_a_404(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = host.put("/m.tar.gz", archive(SIZE_BYTES))
    with make_proxy(host, SLICES, tmp_path) as nginx:
        resolve_on(1, handle, nginx, tmp_path)
        del host.pages["/m.tar.gz"]
        assert resolve_on(1, handle, nginx, tmp_path / "later") == [files(SIZE_BYTES)]
        other = host.put("/other.tar.gz", b"")
        del host.pages["/other.tar.gz"]
        with Host() as next_mirror:
            next_mirror.put(f"/127.0.0.1:{host.port}/other.tar.gz", archive(1000))
            monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", f"{nginx.url},{next_mirror.url}")
            assert files_in(resolve(other)) == files(1000)


def test_nginx_ends_with_its_test_and_runs_as_the_same_user(host: Host, tmp_path: Path) -> None:
    with make_proxy(host, SLICES, tmp_path) as nginx:
        pids = nginx.list_pids()
        assert len(pids) >= 2
        users = subprocess.run(
            ["ps", "-o", "uid=", *map(str, pids)], capture_output=True, text=True, check=True
        ).stdout.split()
        assert set(users) == {str(tmp_path.stat().st_uid)}
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
