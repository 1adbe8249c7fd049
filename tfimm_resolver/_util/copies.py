"""Puts a copy of a file at another path, as cheaply as the file system allows: a hard link, a reflink, or the bytes."""

from __future__ import annotations

import contextlib
import os
import stat
import sys

from tfimm_resolver._util.fs import open_regular

LINKED, CLONED, COPIED = "linked", "cloned", "copied"

_CHUNK_BYTES = 1 << 20
_FICLONE = 0x40049409
"""The ioctl that shares the blocks of two files until one of them is written (ioctl_ficlone(2)): btrfs, XFS, bcachefs."""


def copy_file(source: str, target: str, *, may_link: bool, readable: int = 0) -> str:
    """Create ``target`` with the content of a regular file; return how: ``linked``, ``cloned`` or ``copied``.

    A hard link is the file itself, so its owner, its permissions and later changes of it are those of the original. It is made
    only if this user owns the file, no one else may write it, and every user that is to read it may: ``readable`` are the
    read permissions that the target needs. A copy gets the permissions that the umask leaves.

    Raises:
        FileExistsError: if the target exists.
        OSError: if the source cannot be read or is not a regular file, or the target cannot be written.
    """
    if may_link and _is_safe_to_link(os.lstat(source), readable):
        with contextlib.suppress(OSError):  # another disk, too many links; a lasting error is one of the copy, too
            os.link(source, target, follow_symlinks=False)
            return LINKED
    reader = open_regular(source, follow=True)
    try:
        writer = open_regular(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        try:
            if share_blocks(reader, writer):
                return CLONED
            copy_bytes(reader, writer)
            return COPIED
        except OSError as error:
            raise OSError(error.errno, error.strerror, target) from error  # calls with descriptors do not name the path
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def share_blocks(reader: int, writer: int) -> bool:
    """Let an empty file share the blocks of another one; return False if the file system cannot do that."""
    if sys.platform != "linux":
        return False
    import fcntl

    with contextlib.suppress(OSError):  # another file system, or one that does not share blocks; copying reports what lasts
        fcntl.ioctl(writer, _FICLONE, reader)
        return True
    return False


def copy_bytes(reader: int, writer: int) -> None:
    """Write the rest of one open file into another."""
    while chunk := os.read(reader, _CHUNK_BYTES):
        view = memoryview(chunk)
        while view:
            view = view[os.write(writer, view) :]


def _is_safe_to_link(status: os.stat_result, readable: int) -> bool:
    """Whether only this user can change the file through another name of it, and all who are to read it can."""
    is_own = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    is_writable_by_others = bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    return stat.S_ISREG(status.st_mode) and is_own and not is_writable_by_others and status.st_mode & readable == readable
