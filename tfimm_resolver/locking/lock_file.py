"""One lock file: opened so that nobody is fooled, locked by the kernel where it can, and not kept open by children."""

from __future__ import annotations

import contextlib
import errno
import os

from tfimm_resolver.locking.owner import SAFE_OPEN_FLAGS

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
NO_LINKS = {errno.EPERM, errno.EMLINK, *NO_LOCKS}

_open_files: set[int] = set()


class LockFile:
    """An open lock file, that a child of ours does not keep open when we die."""

    def __init__(self, path: str, flags: int) -> None:
        self.number = os.open(path, flags | SAFE_OPEN_FLAGS, 0o644)
        _open_files.add(self.number)

    @classmethod
    def new(cls, path: str) -> LockFile:
        """One that was not there.

        Raises:
            FileExistsError: if it was.
        """
        return cls(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    @classmethod
    def existing(cls, path: str) -> LockFile:
        """Another's, to read it; to write it if we may: on a network some kernels lock only what may be written."""
        try:
            return cls(path, os.O_RDWR)
        except PermissionError:
            return cls(path, os.O_RDONLY)

    def is_flocked(self) -> bool | None:
        """Whether the kernel's lock is ours now; None where it has none."""
        from filelock import lock_descriptor  # 36 ms that only a miss costs

        try:
            return lock_descriptor(self.number, blocking=False)
        except OSError as error:
            if error.errno == errno.EBADF:  # open only for reading, on a network: it may be somebody's
                return False
            if error.errno not in NO_LOCKS:
                raise
            return None

    def is_at(self, path: str) -> bool:
        """Whether the path still names it."""
        try:
            return os.path.samestat(os.fstat(self.number), os.lstat(path))
        except FileNotFoundError:
            return False

    def write(self, text: str) -> None:
        """Replace what it says."""
        os.lseek(self.number, 0, os.SEEK_SET)
        os.ftruncate(self.number, 0)
        os.write(self.number, text.encode("utf-8", "surrogateescape"))

    def close(self) -> None:
        _open_files.discard(self.number)
        os.close(self.number)


def _close_in_child() -> None:
    """A child that a process forks while it fetches has its files, and with them its locks, for as long as it lives."""
    for number in _open_files:
        with contextlib.suppress(OSError):
            os.close(number)
    _open_files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
