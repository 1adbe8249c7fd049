"""Gives a file a second name or a copy elsewhere: by reflink, else by hard link, else by copying its bytes."""

from __future__ import annotations

import os
from collections.abc import Callable

from tfimm_resolver._util import copies, fs

REFLINK, HARD_LINK, COPY = "reflink", "hard link", "copy"

_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY


class ChangedFileError(OSError):
    """The file was changed while it was copied."""


def clone(source: str, target: str, *, may_link: Callable[[os.stat_result], bool]) -> str:
    """Make ``target``, which must not exist, a file with the bytes of the regular file ``source``; return how that was done.

    A hard link shares its permissions and its bytes with ``source``: ``may_link`` says whether that is acceptable for a file
    with this status. No way writes to ``source``.

    Raises:
        ChangedFileError: if the file was changed meanwhile.
        OSError: if ``source`` is not a regular file or cannot be read, or ``target`` cannot be written.
    """
    descriptor = fs.open_regular(source)
    try:
        before = os.fstat(descriptor)
        method = _clone_open(descriptor, source, target, may_link=may_link(before))
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ChangedFileError(0, "it was changed while it was copied", source)
    return method


def _clone_open(descriptor: int, source: str, target: str, *, may_link: bool) -> str:
    if _try_reflink(descriptor, target):
        return REFLINK
    if may_link and _try_link(descriptor, source, target):
        return HARD_LINK
    _copy(descriptor, target)
    return COPY


def _try_reflink(source: int, target: str) -> bool:
    descriptor = fs.open_regular(target, _NEW_FILE)
    is_cloned = False
    try:
        is_cloned = copies.share_blocks(source, descriptor)
    finally:
        os.close(descriptor)
        if not is_cloned:
            fs.unlink(target)
    return is_cloned


def _try_link(descriptor: int, source: str, target: str) -> bool:
    """Try to make a hard link to the open file; False if another file has its name by now."""
    try:
        os.link(source, target, follow_symlinks=False)
    except (OSError, NotImplementedError):  # another disk, too many links, another user's file, or no links at all
        return False
    if os.path.samestat(os.fstat(descriptor), os.lstat(target)):
        return True
    fs.unlink(target)
    return False


def _copy(source: int, target: str) -> None:
    descriptor = fs.open_regular(target, _NEW_FILE)
    try:
        copies.copy_bytes(source, descriptor)
    except BaseException:
        fs.unlink(target)
        raise
    finally:
        os.close(descriptor)
