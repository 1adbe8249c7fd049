"""The last use of a model on a disk, from times that the disk itself has stamped."""

from __future__ import annotations

import contextlib
import os

from tfimm_resolver.manifest import SAVED_MODEL_FILES


def get_last_use_s(tree: str) -> float:
    """Return when a model was used last, in seconds since 1970 by the clock of its disk.

    Every use by this package sets the modification time of the directory: access times are only exact to a day on disks that
    are mounted with ``relatime``, and never change with ``noatime``. They count for programs that do not set the other.

    Raises:
        OSError: if the directory cannot be read; FileNotFoundError if it does not exist.
    """
    used_s = os.stat(tree).st_mtime
    for name in SAVED_MODEL_FILES:
        with contextlib.suppress(OSError):  # a model has one of them, and the first is the usual one
            return max(used_s, os.stat(f"{tree}/{name}").st_atime)
    return used_s


def allow_exact_access_times(tree: str) -> None:
    """Make the disk note the next read of a model, also if it is mounted with ``relatime``.

    Such a disk sets an access time only if that is not later than the last change of the file, or is a day old: a file that a
    program without use locks reads every hour would seem unused since the first read.
    """
    for name in SAVED_MODEL_FILES:
        path = f"{tree}/{name}"
        with contextlib.suppress(OSError):  # missing, or another user's
            status = os.stat(path)
            if status.st_atime_ns > status.st_ctime_ns:
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


__all__ = ["allow_exact_access_times", "get_last_use_s"]
