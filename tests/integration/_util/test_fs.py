"""Files in directories that others may write: only regular files, of a limited size, of the expected owner."""

from __future__ import annotations

import errno
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import tar_gz
from tests.fakes.origin import Origin
from tfimm_resolver._util.fs import NotRegularError, fsync_tree, open_regular, read_regular, walk
from tfimm_resolver.cache.record import MAX_RECORD_BYTES
from tfimm_resolver.errors import AccessError, CacheError, HandleError, ModelsFileError, ResolverError
from tfimm_resolver.http import hosts
from tfimm_resolver.models_file import discovery
from tfimm_resolver.sources import kaggle_credentials

SPARSE_BYTES = 1 << 40


def make_sparse(path: Path, size_bytes: int = SPARSE_BYTES) -> None:
    """Create a file of that size that takes no space on the disk."""
    path.touch()
    os.truncate(path, size_bytes)


def test_reads_a_file_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * 200_000)
    assert read_regular(path, 200_000) == path.read_bytes()
    for read in (lambda: read_regular(path, 199_999), lambda: open_regular(path, max_bytes=199_999)):
        with pytest.raises(OSError, match="over 199999 bytes") as caught:
            read()
        assert caught.value.errno == errno.EFBIG and caught.value.filename == str(path)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    make_sparse(tmp_path / "x")
    tracemalloc.start()
    try:
        with pytest.raises(OSError, match="over"):
            read_regular(tmp_path / "x", 64 << 20)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs a file that is longer than its status says")
def test_a_file_that_grows_while_it_is_read_is_cut_off() -> None:
    assert os.stat("/proc/self/maps").st_size == 0
    with pytest.raises(OSError, match="over 10 bytes"):
        read_regular("/proc/self/maps", 10)


@pytest.mark.parametrize(
    ("put", "kind"),
    [
        (os.mkfifo, NotRegularError),
        (os.mkdir, IsADirectoryError),
        (lambda path: path.symlink_to("/dev/zero"), NotRegularError),
    ],
    ids=["pipe", "directory", "link to a device"],
)
def test_refuses_anything_else(put: Callable[[Path], None], kind: type[OSError], tmp_path: Path) -> None:
    put(tmp_path / "x")
    with pytest.raises(kind):
        read_regular(tmp_path / "x", 10, follow=True)


def test_a_link_is_followed_on_request_only(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(tmp_path / "y")
    (tmp_path / "y").write_bytes(b"y")
    assert read_regular(tmp_path / "x", 10, follow=True) == b"y"
    with pytest.raises(OSError) as caught:
        read_regular(tmp_path / "x", 10)
    assert caught.value.errno == errno.ELOOP


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners here")
def test_the_owner_is_compared(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    os.close(open_regular(tmp_path / "x", owner=os.geteuid()))
    with pytest.raises(PermissionError, match="another user"):
        open_regular(tmp_path / "x", owner=os.geteuid() + 1)


READERS: dict[str, tuple[str, Callable[[], object], type[ResolverError]]] = {
    "models file": ("TFIMM_MODELS_FILE", lambda: discovery.find_entry("x"), ModelsFileError),
    "hosts.toml": ("TFIMM_RESOLVER_HOSTS_FILE", lambda: hosts.get_headers("https://h/m"), HandleError),
    "token of Kaggle": ("KAGGLE_API_TOKEN", kaggle_credentials.find_credentials, AccessError),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("what", READERS)
@pytest.mark.parametrize("put", [os.mkfifo, make_sparse], ids=["pipe", "a terabyte"])
def test_a_file_of_settings_neither_blocks_nor_fills_the_memory(
    what: str, put: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable, read, kind = READERS[what]
    put(tmp_path / "x")
    monkeypatch.setenv(variable, str(tmp_path / "x"))
    with pytest.raises(kind, match=r"x|token"):
        read()


@pytest.mark.timeout(20)
def test_a_record_of_a_terabyte_is_an_error(origin: Origin) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    folder = Path(tfimm_resolver.resolve(handle))
    make_sparse(folder.with_name(f"{folder.name}.descriptor.txt"))
    with pytest.raises(CacheError, match=f"over {MAX_RECORD_BYTES} bytes"):
        tfimm_resolver.resolve(handle)


@pytest.mark.parametrize("file_count", [0, 3, 50])
def test_a_tree_is_synced_completely_the_files_before_their_directories(
    file_count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    files = {f"inner/{number}" if number % 2 else str(number) for number in range(file_count)}
    for name in files:
        (tmp_path / "tree" / name).touch()
    synced: list[str] = []

    def record(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", record)
    fsync_tree(str(tmp_path / "tree"))
    names = [os.path.relpath(path, tmp_path / "tree") for path in synced]
    assert sorted(names) == sorted([*files, "inner", "."])
    assert set(names[-2:]) == {"inner", "."}


def test_a_walk_lists_files_and_directories_and_follows_no_link(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "empty").mkdir()
    outside.mkdir()
    for path in (tree / "top", tree / "a" / "b" / "deep", outside / "file"):
        path.touch()
    (tree / "link").symlink_to(outside)
    (tree / "loop").symlink_to("loop")
    (tree / "dangling").symlink_to("none")
    files = ["a/b/deep", "dangling", "loop", "top"]
    assert sorted(walk(str(tree))) == files
    assert sorted(walk(str(tree), folders=True)) == sorted([*files, "a", "a/b", "empty", "link"])
    assert [*walk(str(tmp_path / "none"))] == []
