"""Locks a directory of the user, without a file in it, against other processes of this package that change its entries."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

from tfimm_resolver import settings
from tfimm_resolver._util import clock
from tfimm_resolver._util.cancellation import get_current_token
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import LockTimeoutError
from tfimm_resolver.locking.lock_file import LOCKED_BY_OTHER, LockFile
from tfimm_resolver.locking.use_lock import FLOCK_UNSUPPORTED_FOR_DIRECTORIES

if sys.platform != "win32":
    import fcntl

_POLL_S = 0.02

log = logging.getLogger("tfimm_resolver")


@contextlib.contextmanager
def hold_directory(path: str) -> Iterator[bool]:
    """Hold the lock of an existing directory; yield whether its file system has such locks.

    The kernel frees it when the process ends, however it ends. Locks only avoid collisions: a caller may not rely on them.

    Raises:
        LockTimeoutError: if another process holds it for longer than TFIMM_RESOLVER_LOCK_TIMEOUT_S.
        OSError: if the directory does not exist.
    """
    file = _lock(os.path.realpath(path))
    try:
        yield file is not None
    finally:
        if file is not None:
            file.close()


def _lock(path: str) -> LockFile | None:
    """Return the open, locked directory; None if it cannot be locked."""
    until_s = clock.get_monotonic_s() + settings.lock_timeout_s()
    has_waited = False
    while sys.platform != "win32":
        try:
            file = LockFile(path, os.O_RDONLY | os.O_DIRECTORY)
        except PermissionError:  # it may be written, and not read
            return None
        is_locked = _try_lock(file)
        if is_locked and file.is_same_file(path):
            return file
        file.close()
        if is_locked is None:
            return None
        if not has_waited:
            log.info("waiting for another process that publishes to %s", path)
            has_waited = True
        if clock.get_monotonic_s() > until_s:
            text = f"another process has published to {show(path)} for {settings.lock_timeout_s():g} s"
            raise LockTimeoutError(text, fix="Try again once it has ended, or set TFIMM_RESOLVER_LOCK_TIMEOUT_S.")
        get_current_token().sleep(_POLL_S)
    return None


def _try_lock(file: LockFile) -> bool | None:
    """Try to lock an open directory; return whether it is locked, or None if the file system cannot do that."""
    try:
        fcntl.flock(file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in FLOCK_UNSUPPORTED_FOR_DIRECTORIES:
            return None
        if error.errno not in LOCKED_BY_OTHER:
            raise
        return False
    return True
