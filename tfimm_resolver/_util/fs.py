"""What a local disk needs besides the calls of ``os``: patience on Windows, and that what was written is there to stay."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

IS_WINDOWS = os.name == "nt"

_PATIENCE_S, _POLL_S = 2.0, 0.02
_FLUSHERS = 8
_CANNOT_FLUSH = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def durable_rename(old: str | os.PathLike[str], new: str) -> None:
    """``os.rename``, with patience, and to stay."""
    _retry_sharing_violation(os.rename, old, new)
    fsync_dir(os.path.dirname(new))


def durable_replace(old: str, new: str) -> None:
    """``os.replace``, with patience, and to stay."""
    _retry_sharing_violation(os.replace, old, new)
    fsync_dir(os.path.dirname(new))


def fsync_tree(tree: str) -> None:
    """Have every file and directory below ``tree``, and itself, written to the disk.

    Raises:
        OSError: if one of them could not be; it names it.
    """
    from tfimm_resolver._util.threads import DaemonThreadPool  # a few ms that only a miss costs

    folders = [tree]
    files: list[str] = []
    for path in walk(tree, folders=True):
        whole = f"{tree}/{path}"
        (folders if os.path.isdir(whole) else files).append(whole)
    # The disk takes many at once: 200 small files take 17 ms instead of 40. No executor of the standard library:
    # those refuse work as soon as the main thread has ended.
    with DaemonThreadPool(_FLUSHERS) as crew:
        for flush_one, paths in ((_fsync_file, files), (fsync_dir, folders)):
            for result in [crew.submit(flush_one, path) for path in paths]:
                result.result()


def fsync_dir(path: str) -> None:
    """Have the names in a directory written to the disk, where the system knows how."""
    if IS_WINDOWS:
        return
    try:
        _fsync(path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise


def remove_tree(path: str, *, ignore_errors: bool = False) -> None:
    """Remove a directory with all that is in it."""
    import shutil  # 2 ms that only a miss costs

    shutil.rmtree(path, ignore_errors)


def remove_tree_in_place(path: str) -> None:
    """Remove a directory that cannot be renamed, such that no reader takes what is left meanwhile for a model.

    overlayfs renames no directory of a lower layer (EXDEV; Linux, Documentation/filesystems/overlayfs.rst), as a cache
    in a Docker image is one. The files at the top go first, among them saved_model.pb, without which nothing is a model.
    """
    with os.scandir(path) as entries:
        files = [entry.path for entry in entries if not entry.is_dir(follow_symlinks=False)]
    for file in files:
        unlink(file)
    remove_tree(path)


def clear_dir(folder: Path) -> None:
    """Remove what a failed try unpacked; the folder itself stays, since its name stands for a lock."""
    for child in list(folder.iterdir()):
        if child.is_dir():
            remove_tree(str(child))
        else:
            child.unlink()


def unlink(path: str) -> None:
    """Remove a file; nothing where there is none."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _fsync_file(path: str) -> None:
    _fsync(path, os.O_RDWR if IS_WINDOWS else os.O_RDONLY)


def _fsync(path: str, flags: int) -> None:
    file = os.open(path, flags)
    try:
        os.fsync(file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error  # which the system does not name
    finally:
        os.close(file)


def _retry_sharing_violation(deed: Callable[..., None], *paths: str | os.PathLike[str]) -> None:
    """Windows refuses to rename what a reader or a virus scanner has open, mostly for a moment."""
    until_s = time.monotonic() + (_PATIENCE_S if IS_WINDOWS else 0)
    while True:
        try:
            return deed(*paths)
        except PermissionError:
            if time.monotonic() >= until_s:
                raise
        time.sleep(_POLL_S)


_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class NotRegularError(OSError):
    """Where a file was to be opened lies a pipe, a device or a socket."""


def open_regular(path: str | os.PathLike[str], flags: int = os.O_RDONLY, mode: int = 0o666, *, follow: bool = False) -> int:
    """Open a regular file, through a symbolic link only if ``follow``; never waits for the other end of a pipe.

    Serves as the ``opener`` of ``open``, too.

    Raises:
        NotRegularError: if something else is there, such as a pipe or a device.
        OSError: ELOOP if it is a link; IsADirectoryError, FileNotFoundError and so on as of ``os.open``.
    """
    number = os.open(path, flags | _NO_WAIT | (0 if follow else _NO_LINK), mode)
    try:
        kind = os.fstat(number).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(kind):
            raise NotRegularError(errno.EINVAL, "Not a regular file", os.fspath(path))
    except BaseException:
        os.close(number)
        raise
    return number


def open_regular_target(path: str, flags: int) -> int:
    """``open_regular`` that follows links, as an ``opener``."""
    return open_regular(path, flags, follow=True)


def find_status(path: str | os.PathLike[str]) -> os.stat_result | None:
    """The status of what lies at a path, not followed; None where nothing does."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def walk(tree: str, *, folders: bool = False) -> Iterator[str]:
    """The relative path of every file below ``tree``, with ``/``; on demand of every folder, too."""
    for folder, below, names in os.walk(tree):
        inner = os.path.relpath(folder, tree).replace(os.sep, "/")
        yield from (name if inner == "." else f"{inner}/{name}" for name in [*below * folders, *names])
