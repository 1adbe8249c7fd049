"""Lock owners: identity, liveness, and the tokens in the names of their leftover files."""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from typing import NamedTuple

from tfimm_resolver._util.fs import open_regular
from tfimm_resolver._util.outgoing import show

FLOCK_PREFIX = "flock-"
"""Prefix of the token in a lock file whose writer holds a kernel lock, or is dead."""

SOFT_PREFIX = "soft-"
"""Prefix of the token in a lock file that is itself the lock, where the file system has no kernel locks."""

TOKEN_PREFIXES = (FLOCK_PREFIX, SOFT_PREFIX)

PARTS = "parts"
"""What the name of the directory with an entry's partial download begins with, after the name of the entry and a dot."""

SAFE_OPEN_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags for opening a lock file: in a shared root, any user may have put a link or a pipe there."""

_PF_EXITING = 0x4
"""The flag of a process that is ending (``include/linux/sched.h``)."""

_active_tokens: set[str] = set()
"""Random parts of the tokens of locks this process holds or waits for.

A PID alone is not enough: in containers, a new process soon gets the PID of a dead one.
"""


class LockOwner(NamedTuple):
    """The owner named in a lock file as ``host.pid.token``, tensorflow_hub's format.

    The token is part of the staging directory's name. Without a token, the owner is unknown.
    """

    host: str = ""
    pid: int = 0
    token: str = ""

    @classmethod
    def new(cls) -> LockOwner:
        """Return this process as an owner, with a new token."""
        return cls(get_hostname(), os.getpid(), new_token())

    @classmethod
    def parse(cls, text: str) -> LockOwner:
        """Parse the text of a lock file; return the unknown owner if it is malformed."""
        rest, _, token = text.rpartition(".")
        host, _, pid = rest.rpartition(".")
        # The token becomes part of a path, and in a shared root any user may have written it.
        is_valid = pid.isdecimal() and re.fullmatch(r"[\w-]{1,100}", token)
        return cls(host, int(pid), token) if is_valid else cls()

    @classmethod
    def read(cls, path: str) -> LockOwner:
        """Read the owner from a lock file; return the unknown owner if it is missing, empty or not readable."""
        try:
            file = open_regular(path)
        except OSError:
            return cls()
        try:
            return cls.read_open(file)
        finally:
            os.close(file)

    @classmethod
    def read_open(cls, file: int) -> LockOwner:
        """Read the owner from an open lock file."""
        try:
            os.lseek(file, 0, os.SEEK_SET)
            return cls.parse(os.read(file, 1000).decode("utf-8", "replace"))
        except OSError:
            return cls()

    def as_soft_lock(self) -> LockOwner:
        """Return this owner for a file system without kernel locks: its token must not promise one."""
        return LockOwner(self.host, self.pid, SOFT_PREFIX + self.token.removeprefix(FLOCK_PREFIX))

    def to_text(self) -> str:
        return f"{self.host}.{self.pid}.{self.token}"

    def is_dead(self, *, is_flocked: bool) -> bool:
        """Whether the owner is known to be dead; False if that cannot be known.

        ``is_flocked`` says that this process holds the kernel lock on the file. Then an owner whose token promises a kernel
        lock is dead, whatever machine it ran on. Plain tensorflow_hub does not promise one, nor does a machine without
        kernel locks on this root.
        """
        if is_flocked and (not self.token or self.token.startswith(FLOCK_PREFIX)):
            return True
        if not self.token or self.host != get_hostname():
            return False
        if self.pid == os.getpid() and self.token.startswith(SOFT_PREFIX):
            return _get_nonce(self.token) not in _active_tokens
        return not _is_running(self.pid)

    def register(self) -> None:
        """Note that this process holds, or waits for, a lock with this token."""
        _active_tokens.add(_get_nonce(self.token))

    def unregister(self) -> None:
        """Note that this process no longer holds or waits for a lock with this token."""
        _active_tokens.discard(_get_nonce(self.token))

    def __str__(self) -> str:
        return f"process {self.pid} on {show(self.host)}" if self.token else "an unknown process"


def new_token() -> str:
    """Return a new token, ``flock-<pid>-<hash of the host>-<hex>``; it identifies the owner of leftover files."""
    return f"{FLOCK_PREFIX}{os.getpid()}-{get_host_hash()}-{os.urandom(8).hex()}"


def is_token_alive(token: str, *, assume_own_alive: bool) -> bool:
    """Whether the process that created the token may still be running.

    Processes on other hosts are assumed to run. Tokens with the PID of this process count as alive if it holds or waits for
    a lock with them, or with ``assume_own_alive``.
    """
    pid, host, _ = (token.removeprefix(FLOCK_PREFIX).removeprefix(SOFT_PREFIX) + "--").split("-", 2)
    if not pid.isdecimal() or host != get_host_hash():
        return pid.isdecimal()
    return assume_own_alive or _get_nonce(token) in _active_tokens if int(pid) == os.getpid() else _is_running(int(pid))


def _get_nonce(token: str) -> str:
    """Return the random part of a token, which ``as_soft_lock`` does not change."""
    return token.rpartition("-")[2]


def get_hostname() -> str:
    """Return this machine's host name."""
    import socket  # takes 3 ms, needed on a miss only

    return socket.gethostname()


def get_host_hash() -> str:
    """Return the hash of this machine's host name that tokens contain."""
    return f"{zlib.crc32(get_hostname().encode()):08x}"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return not _is_ending(file.read())
    return True


def _is_ending(status: str) -> bool:
    """Whether a process will never run code of its own again, by the text of ``/proc/<pid>/stat``.

    It is a zombie, which its parent has not reaped yet, or the kernel is ending it: its locks are released before that is over
    (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
    """
    state, flags = ([*status.rpartition(")")[2].split(), *[""] * 7][number] for number in (0, 6))
    return state == "Z" or (flags.isdecimal() and bool(int(flags) & _PF_EXITING))
