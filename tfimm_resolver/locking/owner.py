"""Who holds the lock of a model, whether they live, how long to wait for them, and what the names of what they left tell."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import zlib
from dataclasses import dataclass

log = logging.getLogger("tfimm_resolver")

FLOCK_PREFIX = "flock-"
"""Begins the last word of a lock file whose writer holds a kernel lock, or is dead."""

SOFT_PREFIX = "soft-"
"""Begins the last word of a lock file that is itself the lock, where the kernel has none."""

TOKEN_PREFIXES = (FLOCK_PREFIX, SOFT_PREFIX)

SAFE_OPEN_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""How a lock file is opened: in a shared root anybody may have put a link or a pipe there."""


_active_tokens: set[str] = set()
"""How the words end with which this process has locks or wants them; in containers the id of a dead process is soon ours."""


@dataclass(frozen=True, slots=True)
class LockOwner:
    """What a lock file says: ``host.pid.word``, as tensorflow_hub writes it; the word names the staging directory."""

    host: str = ""
    pid: int = 0
    word: str = ""

    @classmethod
    def new(cls) -> LockOwner:
        """This process, with a word of its own."""
        return cls(_hostname(), os.getpid(), new_token())

    @classmethod
    def parse(cls, text: str) -> LockOwner:
        """Whom a text names; nobody if it is not such a text."""
        rest, _, word = text.rpartition(".")
        host, _, pid = rest.rpartition(".")
        # It becomes part of a path, and in a shared root anybody may have written it.
        is_sound = pid.isdecimal() and re.fullmatch(r"[\w-]{1,100}", word)
        return cls(host, int(pid), word) if is_sound else cls()

    @classmethod
    def read(cls, path: str) -> LockOwner:
        """Whom the file names; nobody if it is gone, empty or may not be read."""
        try:
            file = os.open(path, os.O_RDONLY | SAFE_OPEN_FLAGS)
        except OSError:
            return cls()
        try:
            return cls.read_open(file)
        finally:
            os.close(file)

    @classmethod
    def read_open(cls, file: int) -> LockOwner:
        """Whom the open file names."""
        try:
            os.lseek(file, 0, os.SEEK_SET)
            return cls.parse(os.read(file, 1000).decode("utf-8", "replace"))
        except OSError:
            return cls()

    def softened(self) -> LockOwner:
        """The same where the kernel has no locks: the word must not promise one."""
        return LockOwner(self.host, self.pid, SOFT_PREFIX + self.word.removeprefix(FLOCK_PREFIX))

    def to_text(self) -> str:
        return f"{self.host}.{self.pid}.{self.word}"

    def is_gone(self, *, is_flocked: bool) -> bool:
        """Whether the writer of a lock file is known to be dead.

        ``is_flocked`` says that we have the kernel's lock on the file. Then a writer who promises one is dead, wherever
        it ran. Plain tensorflow_hub promises none, nor does a machine whose kernel has none on this root.
        """
        if is_flocked and (not self.word or self.word.startswith(FLOCK_PREFIX)):
            return True
        if not self.word or self.host != _hostname():
            return False
        if self.pid == os.getpid() and self.word.startswith(SOFT_PREFIX):
            return _end(self.word) not in _active_tokens
        return not _is_running(self.pid)

    def enter(self) -> None:
        """Note that this process has, or wants, a lock with that word."""
        _active_tokens.add(_end(self.word))

    def leave(self) -> None:
        """Note that it does so no more."""
        _active_tokens.discard(_end(self.word))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.word else "an unknown process"


def new_token() -> str:
    """``flock-<pid>-<hash of the host>-<hex>``: whose it is can be told from the name of what it left."""
    return f"{FLOCK_PREFIX}{os.getpid()}-{_host_hash()}-{os.urandom(8).hex()}"


def is_token_alive(word: str, *, by_us: bool) -> bool:
    """Whether the process that made the word may still live; of other hosts it is believed, of this process as told.

    Words with which this process has locks, or wants them, it knows by itself.
    """
    pid, host, _ = (word.removeprefix(FLOCK_PREFIX).removeprefix(SOFT_PREFIX) + "--").split("-", 2)
    if not pid.isdecimal() or host != _host_hash():
        return pid.isdecimal()
    return by_us or _end(word) in _active_tokens if int(pid) == os.getpid() else _is_running(int(pid))


def _end(word: str) -> str:
    """What is the same in a word that promises a kernel lock and in the softened one."""
    return word.rpartition("-")[2]


def _hostname() -> str:
    import socket  # 3 ms that only a miss costs

    return socket.gethostname()


def _host_hash() -> str:
    return f"{zlib.crc32(_hostname().encode()):08x}"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[:1] != ["Z"]  # dead, and nobody has asked for its exit code yet
    return True
