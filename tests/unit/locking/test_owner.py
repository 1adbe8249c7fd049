"""Lock owners: the format of lock files, and whether their writers are alive."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.fakes.lock_processes import make_dead_pid
from tests.fakes.processes import run
from tfimm_resolver.locking import owner
from tfimm_resolver.locking.owner import LockOwner, is_token_alive, new_token

HERE = socket.gethostname()


def test_an_owner_is_read_as_it_was_written(tmp_path: Path) -> None:
    owner = LockOwner("a.host.with.dots", 7, new_token())
    (tmp_path / "lock").write_text(owner.to_text())
    assert LockOwner.read(str(tmp_path / "lock")) == owner


@pytest.mark.parametrize(
    "text", ["", "x", "host.7.", "host.seven.token", "h.7./../../etc", "host.7." + "w" * 200, "host.7.a b"]
)
def test_a_malformed_text_names_an_unknown_process(text: str) -> None:
    assert LockOwner.parse(text) == LockOwner() and str(LockOwner.parse(text)) == "an unknown process"


def test_a_missing_file_a_pipe_and_a_link_name_an_unknown_process(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_text("host.7.token")
    for name in ("missing", "pipe", "link"):
        assert LockOwner.read(str(tmp_path / name)) == LockOwner()


@pytest.mark.parametrize(
    ("host", "is_running", "token", "with_flock", "without"),
    [
        ("elsewhere", True, "flock-1", True, False),  # the kernel freed the lock, so its owner is dead on any host
        ("elsewhere", True, "soft-1", False, False),
        ("elsewhere", True, "0123456789abcdef", False, False),
        (HERE, True, "flock-1", True, False),
        (HERE, True, "soft-1", False, False),
        (HERE, True, "0123456789abcdef", False, False),
        (HERE, False, "flock-1", True, True),
        (HERE, False, "soft-1", True, True),
        (HERE, False, "0123456789abcdef", True, True),
        ("", False, "", True, False),
    ],
)
def test_which_owners_are_known_to_be_dead(host: str, is_running: bool, token: str, with_flock: bool, without: bool) -> None:
    owner = LockOwner(host, os.getppid() if is_running else make_dead_pid(), token)
    assert (owner.is_dead(is_flocked=True), owner.is_dead(is_flocked=False)) == (with_flock, without)


@pytest.mark.parametrize(
    ("status", "is_dead"),
    [
        ("7 (python) R 1 7 7 0 -1 4194560 0", False),
        ("7 (python) R 1 7 7 0 -1 4194564 0", True),  # 4: it is ending, and has no locks any more
        ("7 (a) Z 4) S 1 7 7 0 -1 4194560 0", False),
        ("7 (python) Z 1", True),
        ("7 (python) R 1 7", False),
        ("", False),
    ],
)
def test_a_process_that_the_kernel_is_ending_is_dead(status: str, is_dead: bool) -> None:
    assert owner._is_ending(status) is is_dead
    assert not owner._is_ending(Path("/proc/self/stat").read_text())


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie from here on
    try:
        assert LockOwner(HERE, child.pid, "soft-1").is_dead(is_flocked=False)
    finally:
        child.wait()


def test_a_soft_lock_of_an_earlier_process_with_our_pid_is_dead_and_our_own_is_not() -> None:
    """Happens in containers, where each fetching process may have PID 1."""
    own = LockOwner.new().as_soft_lock()
    assert own.is_dead(is_flocked=False) and not is_token_alive(own.token, assume_own_alive=False)
    own.register()
    try:
        assert not own.is_dead(is_flocked=False) and is_token_alive(own.token, assume_own_alive=False)
    finally:
        own.unregister()
    assert own.is_dead(is_flocked=False)


def test_the_token_in_a_leftover_name_says_whether_its_process_lives() -> None:
    dead = run("from tfimm_resolver.locking.owner import LockOwner; print(LockOwner.new().token)")
    for token in (dead, LockOwner("", 0, dead).as_soft_lock().token):
        assert not is_token_alive(token, assume_own_alive=True)
    pid, foreign = os.getppid(), "flock-1-00000000-0123456789abcdef"
    living = new_token().replace(f"-{os.getpid()}-", f"-{pid}-")
    assert is_token_alive(living, assume_own_alive=False) and is_token_alive(foreign, assume_own_alive=False)
