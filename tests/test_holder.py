"""Who holds a lock, as far as its file and its name tell."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.e2e.test_processes import dead_pid
from tests.processes import run
from tfimm_resolver.locking.owner import LockOwner, is_token_alive, new_token

HERE = socket.gethostname()


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    holder = LockOwner("a.host.with.dots", 7, new_token())
    (tmp_path / "lock").write_text(holder.to_text())
    assert LockOwner.read(str(tmp_path / "lock")) == holder


@pytest.mark.parametrize(
    "text", ["", "x", "host.7.", "host.seven.word", "h.7./../../etc", "host.7." + "w" * 200, "host.7.a b"]
)
def test_a_text_that_names_nobody_is_nobodys(text: str) -> None:
    assert LockOwner.parse(text) == LockOwner() and str(LockOwner.parse(text)) == "an unknown process"


def test_what_is_gone_or_no_file_is_nobodys(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_text("host.7.word")
    for name in ("missing", "pipe", "link"):
        assert LockOwner.read(str(tmp_path / name)) == LockOwner()


@pytest.mark.parametrize(
    ("host", "is_running", "word", "with_flock", "without"),
    [
        ("elsewhere", True, "flock-1", True, False),  # the kernel knows, wherever it ran
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
def test_who_is_gone(host: str, is_running: bool, word: str, with_flock: bool, without: bool) -> None:
    holder = LockOwner(host, os.getppid() if is_running else dead_pid(), word)
    assert (holder.is_gone(is_flocked=True), holder.is_gone(is_flocked=False)) == (with_flock, without)


def test_a_dead_process_that_nobody_has_buried_is_gone() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    try:
        assert LockOwner(HERE, child.pid, "soft-1").is_gone(is_flocked=False)
    finally:
        child.wait()


def test_a_soft_lock_of_an_earlier_process_with_our_id_is_gone_and_our_own_is_not() -> None:
    """As in a container, where each process that fetches may be the first one."""
    mine = LockOwner.new().softened()
    assert mine.is_gone(is_flocked=False) and not is_token_alive(mine.word, by_us=False)
    mine.enter()
    try:
        assert not mine.is_gone(is_flocked=False) and is_token_alive(mine.word, by_us=False)
    finally:
        mine.leave()
    assert mine.is_gone(is_flocked=False)


def test_the_name_of_what_was_left_tells_whether_its_maker_lives() -> None:
    dead = run("from tfimm_resolver.locking.owner import LockOwner; print(LockOwner.new().word)")
    for word in (dead, LockOwner("", 0, dead).softened().word):
        assert not is_token_alive(word, by_us=True)
    pid, foreign = os.getppid(), "flock-1-00000000-0123456789abcdef"
    living = new_token().replace(f"-{os.getpid()}-", f"-{pid}-")
    assert is_token_alive(living, by_us=False) and is_token_alive(foreign, by_us=False)
