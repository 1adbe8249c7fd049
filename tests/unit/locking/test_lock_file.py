"""Lock files: created once, opened safely, and locked by the kernel."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.processes import wait_until
from tfimm_resolver.locking.lock_file import LockFile


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The path of a lock file that does not exist."""
    return str(tmp_path / "m.lock")


@pytest.fixture
def lock(path: str) -> Iterator[LockFile]:
    """An open lock file."""
    file = LockFile.create(path)
    yield file
    file.close()


def test_a_lock_file_is_created_only_once(lock: LockFile, path: str) -> None:
    with pytest.raises(FileExistsError):
        LockFile.create(path)


def test_only_one_of_two_open_files_holds_the_kernel_lock(lock: LockFile, path: str) -> None:
    other = LockFile.open(path)
    assert (lock.try_flock(), other.try_flock()) == (True, False)
    other.close()


def test_closing_frees_the_kernel_lock(path: str) -> None:
    first, second = LockFile.create(path), LockFile.open(path)
    assert first.try_flock()
    first.close()
    assert second.try_flock()
    second.close()


def test_writing_replaces_the_contents(lock: LockFile, path: str) -> None:
    lock.write("a long text")
    lock.write("short\udcff")
    assert Path(path).read_bytes() == b"short\xff"


def test_a_file_that_was_removed_or_replaced_is_another_one(lock: LockFile, path: str) -> None:
    assert lock.is_same_file(path)
    os.rename(path, f"{path}.old")
    assert not lock.is_same_file(path)
    Path(path).write_text("")
    assert not lock.is_same_file(path) and lock.is_same_file(f"{path}.old")


def test_a_link_is_not_followed(tmp_path: Path, path: str) -> None:
    (tmp_path / "target").write_text("a text")
    os.symlink(tmp_path / "target", path)
    for open_lock in (LockFile.open, LockFile.create):
        with pytest.raises(OSError):
            open_lock(path)
    assert (tmp_path / "target").read_text() == "a text"


def test_a_forked_child_does_not_keep_the_lock(path: str) -> None:
    file = LockFile.create(path)
    assert file.try_flock()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)  # until the parent has looked
        os._exit(0)
    os.close(reading)
    file.close()
    other = LockFile.open(path)
    try:
        wait_until(other.try_flock, 20)  # the child closes its copy as soon as it runs
    finally:
        os.close(writing)
        os.waitpid(child, 0)
        other.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
@pytest.mark.parametrize(
    ("error", "is_held"),
    [(errno.EACCES, False), (errno.EAGAIN, False), (errno.EBADF, False), (errno.ENOLCK, None), (errno.EOPNOTSUPP, None)],
    ids=["EACCES", "EAGAIN", "EBADF", "ENOLCK", "EOPNOTSUPP"],
)
def test_errors_of_the_kernel_are_told_apart(
    error: int, is_held: bool | None, lock: LockFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems report EACCES for a held lock, network file systems EBADF for a file open for reading only."""
    import fcntl

    def fail(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", fail)
    assert lock.try_flock() is is_held


def test_any_other_error_of_the_kernel_is_raised(lock: LockFile, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error"):
        lock.try_flock()
