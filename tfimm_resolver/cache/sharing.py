"""Makes what is published in a root readable by everybody who can list the root, whatever the umask of the process."""

from __future__ import annotations

import contextlib
import os
import stat

from tfimm_resolver._util import fs

_READ_BITS = 0o044


def share_tree(tree: str, root_mode: int) -> None:
    """Let the group and other users read a directory and everything in it, as far as they can read the root.

    It is one that was unpacked, so it contains no links.
    """
    if root_mode & _READ_BITS:
        for path in (tree, *(f"{tree}/{name}" for name in fs.walk(tree, folders=True))):
            share_file(path, root_mode)


def share_file(path: str, root_mode: int) -> None:
    """Let the group and other users read a file or directory of this user, as far as they can read the root."""
    with contextlib.suppress(OSError):  # a file system without permissions
        mode = os.lstat(path).st_mode
        new_mode = mode | (root_mode & _READ_BITS)
        if stat.S_ISDIR(mode) or mode & 0o100:
            new_mode |= (root_mode & _READ_BITS) >> 2
        if new_mode != mode:
            os.chmod(path, stat.S_IMODE(new_mode))


__all__ = ["share_file", "share_tree"]
