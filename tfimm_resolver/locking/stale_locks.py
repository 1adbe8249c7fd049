"""Finds lock files that dead processes have left in a cache directory; changes nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from tfimm_resolver.locking.lock_file import LockFile
from tfimm_resolver.locking.owner import LockOwner


@dataclass(frozen=True, slots=True)
class StaleLock:
    """A lock file of a dead process, and whether this user may remove it."""

    path: str
    owner: LockOwner
    is_removable: bool


def find_stale_locks(root: str) -> list[StaleLock]:
    """Return the lock files of processes that are known to be dead; changes nothing."""
    return list(_iterate_stale_locks(root))


def _iterate_stale_locks(root: str) -> Iterator[StaleLock]:
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(root)):
            if name.endswith(".lock"):
                with contextlib.suppress(OSError):
                    if (owner := _find_dead_owner(f"{root}/{name}")) is not None:
                        yield StaleLock(f"{root}/{name}", owner, _may_remove(root, f"{root}/{name}"))


def _find_dead_owner(path: str) -> LockOwner | None:
    """Return the owner of a lock file if it is known to be dead; holds the kernel lock for a moment."""
    lock = LockFile.open(path)
    try:
        is_flocked = lock.try_flock()
        owner = LockOwner.read_open(lock.fd)
        is_dead = is_flocked is not False and owner.is_dead(is_flocked=bool(is_flocked))
    finally:
        lock.close()
    return owner if is_dead else None


def _may_remove(root: str, path: str) -> bool:
    """Whether this user may remove a file: the directory is writable and, if it is sticky, the file is theirs."""
    status, user = os.stat(root), os.geteuid() if hasattr(os, "geteuid") else 0
    is_sticky = bool(status.st_mode & 0o1000)
    is_owner = user in (0, status.st_uid, os.lstat(path).st_uid)
    return os.access(root, os.W_OK | os.X_OK) and (is_owner or not is_sticky)
