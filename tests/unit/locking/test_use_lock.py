"""Use locks: a directory that a living process reads is not removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.processes import start, wait_until
from tfimm_resolver.locking import use_lock

HOLD = """
    import os, sys
    from tfimm_resolver.locking import use_lock
    assert use_lock.hold(sys.argv[1], 60)
    print("held", flush=True)
    sys.stdin.read()
"""
FORK = """
    import os, sys
    from tfimm_resolver.locking import use_lock
    assert use_lock.hold(sys.argv[1], 60)
    if os.fork():
        os._exit(0)
    print("held", flush=True)
    sys.stdin.read()
"""
DAY_S = 86400


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[str]:
    """A directory of a model; what this process takes on it is given up afterwards."""
    path = tmp_path / "tree"
    path.mkdir()
    yield str(path)
    use_lock.give_up(str(path))


@contextmanager
def hold_in_process(code: str, tree: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process, or its child, that holds a use lock until the block ends."""
    with start(code, tree, stdin=subprocess.PIPE) as process:  # type: ignore[arg-type]
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def is_unused(tree: str) -> bool:
    exclusion = use_lock.try_exclude(tree)
    if exclusion is not None:
        with exclusion:
            return True
    return False


def test_a_directory_in_use_cannot_be_excluded_until_its_user_is_killed(tree: str) -> None:
    with hold_in_process(HOLD, tree) as process:
        assert not is_unused(tree)
        assert use_lock.find_users(tree) == [process.pid]
        process.kill()
        process.wait()
        assert is_unused(tree) and use_lock.find_users(tree) == []


def test_a_forked_child_keeps_the_lock_of_its_parent(tree: str) -> None:
    with hold_in_process(FORK, tree) as process:
        process.wait()
        assert not is_unused(tree)
        assert process.stdin is not None
        process.stdin.close()  # the child ends
        wait_until(lambda: is_unused(tree))


def test_the_use_of_this_process_counts_until_it_is_given_up(tree: str) -> None:
    assert use_lock.hold(tree, 60) and use_lock.is_held(tree)
    assert not is_unused(tree)
    use_lock.give_up(tree)
    assert is_unused(tree) and not use_lock.is_held(tree)


def test_nothing_is_held_if_the_directory_does_not_exist(tmp_path: Path) -> None:
    assert not use_lock.hold(str(tmp_path / "missing"), 60)
    (tmp_path / "file").touch()
    assert not use_lock.hold(str(tmp_path / "file"), 60)


def test_a_removal_between_opening_and_locking_is_noticed(tree: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use_lock, "_REMOVAL_WAIT_S", 60)
    exclusion = use_lock.try_exclude(tree)
    assert exclusion is not None
    answers: list[bool] = []
    with exclusion:
        waiting = threading.Thread(target=lambda: answers.append(use_lock.hold(tree, 60)))
        waiting.start()
        wait_until(lambda: os.path.realpath(tree) in list_open_files())
        os.rename(tree, f"{tree}.removed")
        os.mkdir(tree)  # another process has fetched it again
        waiting.join()
    assert answers == [False] and is_unused(tree)


def list_open_files() -> set[str]:
    """Return the paths of the files that this process has open more than once: the exclusion's, and that of the waiter."""
    paths = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue
    return {path for path in paths if paths.count(path) > 1}


@pytest.mark.parametrize("take", [lambda tree: use_lock.hold(tree, 60), use_lock.try_exclude], ids=["hold", "exclude"])
def test_a_removal_just_before_the_lock_is_granted_is_noticed(
    take: Callable[[str], object], tree: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def remove_and_lock(descriptor: int, operation: int) -> None:
        if not os.path.exists(f"{tree}.removed"):
            os.rename(tree, f"{tree}.removed")
            os.mkdir(tree)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_and_lock)
    with contextlib.suppress(FileNotFoundError):
        assert take(tree) is False
    monkeypatch.undo()
    assert is_unused(tree)


def test_a_remover_that_is_stopped_does_not_stop_readers(tree: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use_lock, "_REMOVAL_WAIT_S", 0.05)
    exclusion = use_lock.try_exclude(tree)
    assert exclusion is not None
    with exclusion:
        assert use_lock.hold(tree, 60)


def test_a_directory_that_another_program_removed_is_not_held_any_more(tree: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use_lock, "_CHECK_INTERVAL_S", -1)
    assert use_lock.hold(tree, 60)
    os.rmdir(tree)
    assert not use_lock.is_held(tree) and not use_lock.hold(tree, 60)
    os.mkdir(tree)
    assert use_lock.hold(tree, 60) and not is_unused(tree)


def test_a_process_has_a_limited_number_of_locks_and_the_oldest_give_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_lock, "HELD_MAX", 3)
    monkeypatch.setattr(use_lock, "_held", {})
    trees = [str(tmp_path / str(number)) for number in range(5)]
    for tree in trees:
        os.mkdir(tree)
        os.utime(tree, (0, 0))
        assert use_lock.hold(tree, DAY_S)
        os.utime(tree, (0, 0))
    assert [is_unused(tree) for tree in trees] == [True, True, False, False, False]
    assert [os.stat(tree).st_mtime > 0 for tree in trees] == [True, True, False, False, False]
    for tree in trees:
        use_lock.give_up(tree)


def test_the_last_use_is_noted_once_in_an_interval(tree: str) -> None:
    for age_s, is_touched in ((1000, False), (5000, True), (-5000, True)):
        before_s = time.time() - age_s
        os.utime(tree, (before_s, before_s))
        use_lock.give_up(tree)
        assert use_lock.hold(tree, 3600)
        assert (abs(os.stat(tree).st_mtime - before_s) > 1) == is_touched
    use_lock.give_up(tree)
    assert use_lock.hold(tree, 0) and not use_lock.is_held(tree)  # it has to be noted again at once


def test_the_last_use_of_others_models_is_not_changed(tree: str) -> None:
    os.utime(tree, (0, 0))
    assert use_lock.hold(tree, 60, touch=False)
    assert os.stat(tree).st_mtime == 0 and not is_unused(tree)


def test_a_right_to_remove_is_not_kept_by_a_forked_child(tree: str) -> None:
    exclusion = use_lock.try_exclude(tree)
    assert exclusion is not None
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)
    os.close(read_end)
    use_lock._exclusions.discard(exclusion._descriptor or 0)
    os.close(exclusion._descriptor or 0)  # as if this process had been killed: not unlocked
    try:
        wait_until(lambda: is_unused(tree))
    finally:
        os.close(write_end)
        os.waitpid(child, 0)
