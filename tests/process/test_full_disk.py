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
