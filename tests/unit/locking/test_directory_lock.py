"""One process at a time publishes to a directory; a dead one does not count."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import pytest

from tests.fakes.processes import start
from tfimm_resolver.errors import LockTimeoutError
from tfimm_resolver.locking.directory_lock import hold_directory

HOLD = """
    import sys, time
    from tfimm_resolver.locking.directory_lock import hold_directory
    with hold_directory(sys.argv[1]):
        print("held", flush=True)
        time.sleep(60)
"""


def test_the_lock_is_free_again_after_the_block_and_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for _ in range(2):
        with hold_directory(str(tmp_path / "models")) as is_locked:
            assert is_locked
    assert os.listdir(tmp_path / "models") == []


def test_a_process_that_holds_it_is_waited_for_until_it_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "0.2")
    with start(HOLD, str(tmp_path)) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(LockTimeoutError, match="has published to"), hold_directory(str(tmp_path)):
            pass
        process.kill()
    with hold_directory(str(tmp_path)) as is_locked:
        assert is_locked


def test_a_directory_that_was_replaced_meanwhile_is_not_the_locked_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    flock = fcntl.flock

    def replace_and_lock(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        folder.rename(tmp_path / "old")
        folder.mkdir()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", replace_and_lock)
    with hold_directory(str(folder)) as is_locked:
        assert is_locked
        descriptor = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


def test_a_file_system_without_locks_is_worked_on_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(9, "Bad file descriptor")  # how NFS refuses an exclusive lock on what is open for reading

    monkeypatch.setattr(fcntl, "flock", fail)
    with hold_directory(str(tmp_path)) as is_locked:
        assert not is_locked


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    with hold_directory(str(tmp_path)):
        read, write = os.pipe()
        if (child := os.fork()) == 0:
            os.close(write)
            os.read(read, 1)  # until the parent has finished
            os._exit(0)
        os.close(read)
    with hold_directory(str(tmp_path)) as is_locked:
        assert is_locked
    os.close(write)
    os.waitpid(child, 0)
