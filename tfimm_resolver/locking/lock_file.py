"""A lock file: opened safely, locked by the kernel where supported, and closed in forked children."""

from __future__ import annotations

import contextlib
import errno
import os
import sys

from tfimm_resolver.locking.owner import SAFE_OPEN_FLAGS

if sys.platform == "win32":
    from filelock import lock_descriptor
else:
    import fcntl

LOCKED_BY_OTHER = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK}  # some file systems report EACCES
FLOCK_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
HARDLINK_UNSUPPORTED = {errno.EPERM, errno.EMLINK, *FLOCK_UNSUPPORTED}

_open_files: set[int] = set()


class LockFile:
    """An open lock file; forked children close it, so that they do not keep its lock."""

    def __init__(self, path: str, flags: int) -> None:
        self.fd = os.open(path, flags | SAFE_OPEN_FLAGS, 0o644)
        _open_files.add(self.fd)

    @classmethod
    def create(cls, path: str) -> LockFile:
        """Create and open a lock file.

        Raises:
            FileExistsError: if it exists.
        """
        return cls(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    @classmethod
    def open(cls, path: str) -> LockFile:
        """Open another process's lock file, for writing if permitted: on network file systems, some kernels require that."""
        try:
            return cls(path, os.O_RDWR)
        except PermissionError:
            return cls(path, os.O_RDONLY)

    def try_flock(self) -> bool | None:
        """Try to take the kernel lock without waiting; return whether it is held now, or None if it is not supported."""
        try:
            if sys.platform == "win32":
                return lock_descriptor(self.fd, blocking=False)
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as filelock does, whose import takes 17 ms
            return True
        except OSError as error:
            # EBADF: open for reading only, on a network file system; another process may hold it
            if error.errno in LOCKED_BY_OTHER or error.errno == errno.EBADF:
                return False
            if error.errno not in FLOCK_UNSUPPORTED:
                raise
            return None

    def is_same_file(self, path: str) -> bool:
        """Whether ``path`` still names this file."""
        try:
            return os.path.samestat(os.fstat(self.fd), os.lstat(path))
        except FileNotFoundError:
            return False

    def write(self, text: str) -> None:
        """Replace the contents."""
        os.lseek(self.fd, 0, os.SEEK_SET)
        if os.fstat(self.fd).st_size:  # some mounts, and pyfakefs before 6.3, cannot truncate a new file
            os.ftruncate(self.fd, 0)
        os.write(self.fd, text.encode("utf-8", "surrogateescape"))

    def close(self) -> None:
        _open_files.discard(self.fd)
        os.close(self.fd)


def _close_in_child() -> None:
    """Close inherited lock files in a forked child, which would otherwise keep the locks until it exits."""
    for fd in _open_files:
        with contextlib.suppress(OSError):
            os.close(fd)
    _open_files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
