"""Use locks: a process that reads a model holds a shared kernel lock on its directory until it ends.

The lock is on the directory itself, so it needs no file beside it, and it goes with the directory that a remover renames. The
kernel frees it when the process ends, however it ends; a forked child keeps it. The directory's modification time is the last
use of the model, for file systems without flock, and for processes that give up their oldest locks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time

from tfimm_resolver._util import clock
from tfimm_resolver.locking.lock_file import FLOCK_UNSUPPORTED, LOCKED_BY_OTHER

if sys.platform != "win32":
    import fcntl

HELD_MAX = 256
"""Limit on the use locks of a process, each of which is a descriptor: many systems allow 1,024. The oldest give way."""

_CHECK_INTERVAL_S = 0.1
"""Seconds for which a lock is not checked again: a check takes a microsecond, a twentieth of a hit."""

_REMOVAL_WAIT_S, _POLL_S = 2.0, 0.001
FLOCK_UNSUPPORTED_FOR_DIRECTORIES = {errno.EBADF, errno.EINVAL, errno.EISDIR, *FLOCK_UNSUPPORTED}
"""Errors of file systems without flock, or without flock of directories, such as NFS."""

_DIRECTORY_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)

_get_monotonic_s = clock.get_monotonic_s
_table_lock = threading.Lock()
_held: dict[str, _HeldLock] = {}
_exclusions: set[int] = set()


class _HeldLock:
    """The use lock of this process on one directory; without a descriptor if its file system has no such locks."""

    __slots__ = ("check_s", "descriptor", "hits", "until_s")

    def __init__(self, descriptor: int | None, touch_interval_s: float) -> None:
        self.descriptor, self.until_s = descriptor, clock.get_monotonic_s() + touch_interval_s
        self.check_s = min(self.until_s, clock.get_monotonic_s() + _CHECK_INTERVAL_S)
        self.hits = 0

    def check(self, now_s: float) -> bool:
        """Return whether the last use is new enough, and no program that ignores the lock has removed the directory."""
        if self.until_s < now_s:
            return False
        self.check_s = min(self.until_s, now_s + _CHECK_INTERVAL_S)
        return self.descriptor is None or os.fstat(self.descriptor).st_nlink > 0

    def close(self) -> None:
        """Give the lock up in this process; a child that was forked meanwhile keeps it."""
        if self.descriptor is not None:
            os.close(self.descriptor)


class Exclusion:
    """The right to remove a directory: while it is held, no process can take a use lock on it.

    Attributes:
        is_enforced: whether the file system has such locks; else only the last use tells whether a process may read it.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor, self.is_enforced = descriptor, descriptor is not None

    def __enter__(self) -> Exclusion:
        return self

    def share(self) -> None:
        """Let processes take use locks from now on, and no other process the right to remove."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            _exclusions.discard(self._descriptor)
            os.close(self._descriptor)


def is_held(tree: str) -> bool:
    """Whether this process has a use lock on a directory, and has noted its last use lately; quick, as each hit asks it."""
    held = _held.get(tree)
    if held is None:
        return False
    now_s = _get_monotonic_s()
    if now_s < held.check_s or held.check(now_s):
        held.hits += 1
        return True
    return False


def is_locked_here(tree: str) -> bool:
    """Whether this process has a use lock on a directory, however long ago it was checked."""
    return tree in _held


def hold(tree: str, touch_interval_s: float, *, touch: bool = True) -> bool:
    """Take a use lock on a directory, which this process keeps until it ends, and note its last use.

    Return False if the directory no longer exists: the caller has to look for the model again. A directory that cannot
    be locked counts as held. The last use is written at most once in ``touch_interval_s``, and only with ``touch``.
    """
    try:
        descriptor = _lock_shared(tree)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # not readable, or no descriptor is left: only its last use can protect it
        descriptor = None
    if touch:
        _touch_if_old(tree, touch_interval_s)
    if descriptor is None and not os.path.isdir(tree):
        return False
    _add(tree, _HeldLock(descriptor, touch_interval_s))
    return True


def take_hits() -> dict[str, int]:
    """Return how often each directory was asked for since the last call, while this process had a use lock on it."""
    counts = {}
    for tree, held in list(_held.items()):
        if held.hits:
            counts[tree], held.hits = held.hits, 0
    return counts


def give_up(tree: str) -> bool:
    """Give up this process's own use lock on a directory that it is about to remove; return whether it had one."""
    with _table_lock:
        held = _held.pop(tree, None)
    if held is not None:
        held.close()
    return held is not None


def try_exclude(tree: str) -> Exclusion | None:
    """Return the right to remove a directory, or None if a process, this one or another, has a use lock on it; never wait.

    Raises:
        FileNotFoundError: if the directory does not exist.
    """
    if sys.platform == "win32":
        return Exclusion(None)
    descriptor = os.open(tree, _DIRECTORY_FLAGS)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_same(descriptor, tree):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), tree)
    except OSError as error:
        os.close(descriptor)
        if error.errno in LOCKED_BY_OTHER:
            return None
        if error.errno not in FLOCK_UNSUPPORTED_FOR_DIRECTORIES:
            raise
        return None if tree in _held else Exclusion(None)
    _exclusions.add(descriptor)
    return Exclusion(descriptor)


def find_users(tree: str) -> list[int]:
    """Return the ids of processes on this machine that have a use lock on a directory, as far as the system tells them."""
    pids: set[int] = set()
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = os.stat(tree)
        inode = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        with open("/proc/locks", encoding="ascii") as file:
            for line in file:
                fields = line.split()
                if fields[1] == "FLOCK" and fields[3] == "READ" and fields[5] == inode:
                    pids.add(int(fields[4]))
    return sorted(pids)


def _lock_shared(tree: str) -> int | None:
    """Return a descriptor with a use lock on a directory; None if it cannot be locked.

    Raises:
        OSError: if it cannot be opened; FileNotFoundError if it has been removed meanwhile.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(tree, _DIRECTORY_FLAGS)
    is_locked = False
    try:
        is_locked = _wait_for_lock(descriptor, tree)
        if is_locked and not _is_same(descriptor, tree):
            is_locked = False
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), tree)
    finally:
        if not is_locked:
            os.close(descriptor)
    return descriptor if is_locked else None


def _wait_for_lock(descriptor: int, tree: str) -> bool:
    """Lock an open directory; return False if that is not supported, or if a process keeps looking whether it is unused.

    A remover holds its lock for as long as a rename takes; then the directory is gone, or it can be locked.
    """
    until_s = None
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in FLOCK_UNSUPPORTED_FOR_DIRECTORIES:
                return False
            if error.errno not in LOCKED_BY_OTHER:
                raise
        else:
            return True
        now_s = clock.get_monotonic_s()
        until_s = until_s or now_s + _REMOVAL_WAIT_S
        if now_s > until_s:  # a remover that was stopped
            return False
        if not _is_same(descriptor, tree):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), tree)
        time.sleep(_POLL_S)


def _is_same(descriptor: int, tree: str) -> bool:
    """Whether the path still names the open directory."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(tree))
    except FileNotFoundError:
        return False


def _touch(tree: str) -> None:
    """Set the last use of a directory to now, by the clock of its file system, if this user may."""
    with contextlib.suppress(OSError):
        os.utime(tree)


def _touch_if_old(tree: str, interval_s: float) -> None:
    with contextlib.suppress(OSError):
        if abs(clock.get_time_s() - os.stat(tree).st_mtime) > interval_s:
            os.utime(tree)


def _add(tree: str, lock: _HeldLock) -> None:
    """Put a lock into the table; it replaces one on a directory of the same name that was removed."""
    with _table_lock:
        dropped = [_held.pop(tree, None)]
        _held[tree] = lock
        if len(_held) > HELD_MAX:
            oldest = next(iter(_held))
            _touch(oldest)
            dropped.append(_held.pop(oldest))
    for other in dropped:
        if other is not None:
            other.close()


def _reset_in_child() -> None:
    """Keep the use locks in a forked child, but not the rights to remove that another thread of its parent has."""
    global _table_lock  # noqa: PLW0603  # another thread may have held it when the process was forked
    _table_lock = threading.Lock()
    for descriptor in _exclusions:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _exclusions.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
