"""The cache on one disk and temporary files on another: nothing is paths or moved between them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz, zip_of
from tests.fakes.faults.origin import Host
from tests.fakes.faults.recovery import Files, list_leftovers
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tests.fakes.processes import run

OTHER_DISK = "/dev/shm"
RESOLVE = """
    import os, sys

    def watch(event, arguments):
        if event in ("os.rename", "os.link", "shutil.move", "shutil.copyfile", "shutil.copytree"):
            print(*(os.path.abspath(os.fsdecode(path)) for path in arguments[:2]))

    sys.addaudithook(watch)
    import tfimm_resolver
    print("path", tfimm_resolver.resolve(sys.argv[1], refresh="refresh" in sys.argv[2:]))
"""


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system than the temporary ones of the tests."""
    if not os.access(OTHER_DISK, os.W_OK) or os.stat(OTHER_DISK).st_dev == tmp_path.stat().st_dev:
        pytest.skip(f"{OTHER_DISK} is not a second disk that can be written")
    folder = Path(tempfile.mkdtemp(dir=OTHER_DISK))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("pack", [tar_gz, zip_of])
@pytest.mark.parametrize("is_cache_there", [True, False])
def test_nothing_is_moved_between_the_disks(
    pack: Callable[[Files], bytes], is_cache_there: bool, other_disk: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "disk", other_disk
    here.mkdir()
    root, temporary = (there, here) if is_cache_there else (here, there)
    paths = []
    with Host() as host:
        for words, files in (([], MODEL), (["refresh"], MODEL | {"saved_model.pb": b"another graph"})):
            url = host.put("/m?tf-hub-format=compressed", pack(files))
            out = run(RESOLVE, url, *words, TFHUB_CACHE_DIR=str(root / "cache"), TMPDIR=str(temporary))
            *pairs, last = out.splitlines()
            assert files_in(last.removeprefix("path ")) == files
            paths += [path for pair in pairs for path in pair.split() if "/.local/state/" not in path]
    assert len(paths) >= 4 and all(path.startswith(f"{root}/cache/") for path in paths), paths
    assert list_leftovers(root / "cache") == [] and os.listdir(temporary) == []
