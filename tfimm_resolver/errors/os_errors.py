"""Turns errors of the operating system and of the interpreter into errors of this package, and advises on failing disks."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Union

from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.text import format_size
from tfimm_resolver.errors.advice import Fix, join_advice
from tfimm_resolver.errors.base import ResolverError
from tfimm_resolver.errors.cache import CacheError

DISK_FULL_FIX = "Free some disk space, or set TFHUB_CACHE_DIR to a directory on another disk."
_NO_INODES_FIX = (
    "The disk has space left, but no inodes, of which each file takes one (`df -i` shows them): remove small files, or set "
    "TFHUB_CACHE_DIR to a directory on another disk."
)
_LONG_PATH = "The path is too long for this file system."
_LONG_PATH_FIX = "Set TFHUB_CACHE_DIR to a directory with a shorter path."
_DISK_FAILING_FIX = "The disk is failing: set TFHUB_CACHE_DIR to a directory on another disk."
_PERMISSIONS_FIX = "Correct its permissions."
_NO_MEMORY = "this process does not have enough memory for it"
_MEMORY_FIX = "Check the file: it may be damaged, or built to do harm. Otherwise allow this process more memory."

FixForError = Union[Fix, Callable[[OSError], Fix]]
"""What to do next; as a function, it depends on the error."""


def map_os_errors(
    kind: type[ResolverError],
    action: str | Callable[[], str],
    fix: FixForError = "",
    *,
    missing: type[ResolverError] | None = None,
    show_path: bool = False,
    explain: Callable[[OSError], ResolverError | None] = lambda _: None,
) -> AbstractContextManager[None]:
    """Raise an OSError or MemoryError of the block as ``kind``, with the text ``action: reason``.

    Errors of this package pass unchanged.

    Args:
        kind: the class of the error to raise.
        action: what could not be done, such as ``models.toml cannot be read``, or a function that returns it.
        fix: the advice; without one, a missing permission is to be corrected.
        missing: the class to raise instead if the path does not exist.
        show_path: also name the path that the system reported, if ``action`` does not name it.
        explain: returns the error to raise instead, if the caller knows more.
    """
    return _OsErrorMap(kind, action, fix, missing, show_path, explain)


class _OsErrorMap(AbstractContextManager[None]):
    """What ``map_os_errors`` returns; a class, since a generator takes several times as long, and few blocks fail."""

    def __init__(
        self,
        kind: type[ResolverError],
        action: str | Callable[[], str],
        fix: FixForError,
        missing: type[ResolverError] | None,
        show_path: bool,
        explain: Callable[[OSError], ResolverError | None],
    ) -> None:
        self._kind, self._action, self._fix = kind, action, fix
        self._missing, self._show_path, self._explain = missing, show_path, explain

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, ResolverError):
            return
        if isinstance(error, OSError):
            raise self._explain(error) or self._make_error(error) from error
        if isinstance(error, MemoryError):
            raise self._kind(f"{self._describe_action()}: {_NO_MEMORY}", fix=_MEMORY_FIX) from error

    def _make_error(self, error: OSError) -> ResolverError:
        is_missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        kind = self._missing if is_missing and self._missing is not None else self._kind
        reason = error.strerror or str(error) or type(error).__name__
        path = f": {show(error.filename)}" if self._show_path and error.filename else ""
        fix = self._fix(error) if callable(self._fix) else self._fix
        usual = _PERMISSIONS_FIX if isinstance(error, PermissionError) else ""
        return kind(f"{self._describe_action()}: {show(reason)}{show(path)}", fix=fix or usual)

    def _describe_action(self) -> str:
        return self._action if isinstance(self._action, str) else self._action()


@contextlib.contextmanager
def map_resource_errors(kind: type[ResolverError], action: str, fix: Fix = _MEMORY_FIX) -> Iterator[None]:
    """Raise a MemoryError or RecursionError of the block, which untrusted input can cause, as ``kind``."""
    try:
        yield
    except MemoryError as error:
        raise kind(f"{action}: {_NO_MEMORY}", fix=fix) from error
    except RecursionError as error:
        raise kind(f"{action}: it is nested too deeply", fix=fix) from error


def is_disk_full(error: OSError) -> bool:
    """Whether the disk, or the user's quota on it, is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_out_of_inodes(error: OSError) -> bool:
    """Whether a file could not be created because the disk has no inode left for it, although it has space."""
    path = error.filename if isinstance(error.filename, str) else os.fspath(error.filename) if error.filename else ""
    if not path or not is_disk_full(error) or not hasattr(os, "statvfs"):
        return False
    try:
        disk = os.statvfs(os.path.dirname(path))
    except (OSError, TypeError):
        return False
    return disk.f_files > 0 and disk.f_favail == 0 and disk.f_bavail > 0


def make_disk_full_error(folder: str, about: str, needed_bytes: int, free_bytes: int) -> CacheError:
    """Return the error for a model that needs ``about``, or over, so many bytes of the disk with ``folder``."""
    needed, free = format_size(needed_bytes), format_size(free_bytes)
    if needed == free:
        needed, free = f"{needed_bytes} bytes", str(free_bytes)
    text = f"the disk of {show(folder)} is full: the model needs {about} {needed}, and {free} are free"
    error = CacheError(text, fix=DISK_FULL_FIX)
    error.missing_bytes = max(1, needed_bytes - free_bytes)
    return error


def find_missing_bytes(error: BaseException) -> int | None:
    """Return how many bytes a full disk lacks, as far as that is known, if that is why ``error`` was raised; else None."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, CacheError) and found.missing_bytes:
            return found.missing_bytes
        if isinstance(found, OSError) and is_disk_full(found):
            return 1
        found = found.__cause__ or found.__context__
    return None


def suggest_disk_fix(error: OSError, otherwise: Fix = "") -> Fix:
    """Return what to do about a full or failing disk; ``otherwise`` for any other error."""
    if is_disk_full(error):
        return _NO_INODES_FIX if is_out_of_inodes(error) else DISK_FULL_FIX
    if error.errno == errno.ENAMETOOLONG:
        return join_advice([_LONG_PATH, otherwise or _LONG_PATH_FIX], " ")
    return _DISK_FAILING_FIX if error.errno == errno.EIO else otherwise
