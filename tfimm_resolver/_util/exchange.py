"""Exchanges two paths in one step, where the system offers that."""

from __future__ import annotations

import errno
import os
import sys

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def exchange(one: str, other: str) -> bool:
    """Swap two existing paths of one file system in one step; return False where that is not supported.

    Linux has it since 3.15, in its C libraries later, and not every file system does (rename(2)).

    Raises:
        OSError: for any other reason, such as EBUSY for a mount point.
    """
    if sys.platform != "linux":
        return False
    import ctypes  # 5 ms that only a directory which is replaced pays

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # an older C library, or a static one
        return False
    paths = (os.fsencode(one), os.fsencode(other))
    flags = (ctypes.c_int(_AT_FDCWD), ctypes.c_uint(_RENAME_EXCHANGE))
    if rename(flags[0], ctypes.c_char_p(paths[0]), flags[0], ctypes.c_char_p(paths[1]), flags[1]) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), one, None, other)
