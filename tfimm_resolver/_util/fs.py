"""File system helpers: durable renames, fsync, free space, removal, and safe opening of regular files."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tfimm_resolver._util import clock

if TYPE_CHECKING:
    from pathlib import Path

IS_WINDOWS = os.name == "nt"

_RENAME_RETRY_S, _POLL_INTERVAL_S = 2.0, 0.02
_FSYNC_THREADS, _FSYNCS_WITHOUT_THREADS = 8, 16
_READ_BYTES = 1 << 16
UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""Errors of file systems that lack an operation."""
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT, _NO_LINK = getattr(os, "O_NONBLOCK", 0), getattr(os, "O_NOFOLLOW", 0)


def rename(old: str | os.PathLike[str], new: str) -> None:
    """Rename as ``os.rename`` does, with retries on Windows."""
    _retry_sharing_violation(os.rename, old, new)


def durable_rename(old: str | os.PathLike[str], new: str) -> None:
    """Rename as ``rename`` does, and fsync the directory of ``new``."""
    rename(old, new)
    fsync_dir(os.path.dirname(new))


def durable_replace(old: str, new: str) -> None:
    """Replace as ``os.replace`` does, with retries on Windows, and fsync the directory of ``new``."""
    _retry_sharing_violation(os.replace, old, new)
    fsync_dir(os.path.dirname(new))


def fsync_tree(tree: str) -> None:
    """Fsync ``tree`` and every file and directory below it.

    Raises:
        OSError: if one of them cannot be written to the disk; its ``filename`` is the path.
    """
    folders = [tree]
    files: list[str] = []
    for relative in walk(tree, folders=True):
        path = f"{tree}/{relative}"
        (folders if os.path.isdir(path) else files).append(path)
    if len(files) + len(folders) <= _FSYNCS_WITHOUT_THREADS:
        for path in files:
            _fsync_file(path)
        for path in folders:
            fsync_dir(path)
        return
    from tfimm_resolver._util.thread_pool import DaemonThreadPool  # a few ms that only a cache miss pays

    # In parallel, since 200 small files then take 17 ms instead of 40; 10 take less without threads. Not with an executor
    # of the standard library, which refuses work once the main thread has ended.
    with DaemonThreadPool(_FSYNC_THREADS) as pool:
        for fsync, paths in ((_fsync_file, files), (fsync_dir, folders)):
            for future in [pool.submit(fsync, path) for path in paths]:
                future.result()


def fsync_open(descriptor: int) -> None:
    """Fsync an open file, where its file system supports that; network disks and FUSE mounts may not."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def fsync_dir(path: str) -> None:
    """Fsync a directory, and with it the names in it, where the system supports that."""
    if IS_WINDOWS:
        return
    try:
        _fsync(path, os.O_RDONLY)
    except OSError as error:  # from opening it, which needs the permission to list it
        if error.errno not in {*UNSUPPORTED, errno.EACCES}:
            raise


def get_disk_bytes(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return the size and the free bytes of the disk that holds an existing path; None if its file system does not tell them.

    Some FUSE mounts report a disk without any blocks, which is not a full one.
    """
    import shutil

    try:
        usage = shutil.disk_usage(path)
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return None
        raise
    return (usage.total, usage.free) if usage.total else None


def find_existing_directory(path: str) -> str:
    """Return a directory, or its nearest parent that exists; empty for a relative path without any."""
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def get_free_bytes(path: str | os.PathLike[str]) -> int | None:
    """Return the free bytes of the disk that holds an existing path; None if its file system does not tell them."""
    disk = get_disk_bytes(path)
    return None if disk is None else disk[1]


def remove_tree(path: str, *, ignore_errors: bool = False) -> None:
    """Remove a directory and everything in it."""
    import shutil  # 2 ms that only a cache miss pays

    shutil.rmtree(path, ignore_errors)


def clear_dir(folder: Path) -> None:
    """Remove what a failed attempt unpacked, but keep the directory itself, since its name stands for a lock."""
    for child in list(folder.iterdir()):
        if child.is_dir():
            remove_tree(str(child))
        else:
            child.unlink()


def unlink(path: str) -> None:
    """Remove a file, if it exists."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


class NotRegularError(OSError):
    """The path is a pipe, a device or a socket, not a regular file."""


def open_regular(
    path: str | os.PathLike[str],
    flags: int = os.O_RDONLY,
    mode: int = 0o666,
    *,
    follow: bool = False,
    max_bytes: int | None = None,
    owner: int | None = None,
) -> int:
    """Open a file in a directory that others may write, and return its descriptor; never block on a pipe.

    Can be passed as the ``opener`` of ``open``, which is how other modules read such a file.

    Args:
        path: the path of the file.
        flags: as for ``os.open``.
        mode: the mode of a file that is created.
        follow: accept a symbolic link, too.
        max_bytes: the largest size that is accepted; ``read_regular`` also limits a file that grows meanwhile.
        owner: the user id that the file must belong to.

    Raises:
        NotRegularError: if the path is something else, such as a pipe or a device.
        PermissionError: if it belongs to another user than ``owner``.
        OSError: EFBIG for a file over ``max_bytes``; ELOOP for a link; IsADirectoryError, FileNotFoundError and so on as
            ``os.open`` does.
    """
    descriptor = os.open(path, flags | _NO_WAIT | (0 if follow else _NO_LINK), mode)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(status.st_mode):
            raise NotRegularError(errno.EINVAL, "Not a regular file", os.fspath(path))
        if owner is not None and status.st_uid != owner:
            raise PermissionError(errno.EPERM, "it belongs to another user", os.fspath(path))
        if max_bytes is not None and status.st_size > max_bytes:
            raise _make_size_error(path, max_bytes)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_regular_target(path: str, flags: int) -> int:
    """Open a regular file, following links, as an ``opener`` of ``open``."""
    return open_regular(path, flags, follow=True)


def read_regular(
    path: str | os.PathLike[str], max_bytes: int, *, follow: bool = False, opener: Callable[[str, int], int] | None = None
) -> bytes:
    """Return the content of a file that ``open_regular`` opens, or ``opener``; never more than ``max_bytes``.

    Raises:
        OSError: as ``open_regular`` does; EFBIG also if the file grows while it is read.
    """
    # Not with ``open``: this is in the way of each hit, and its file object takes as long as the system calls.
    descriptor = (opener or (open_regular_target if follow else open_regular))(os.fspath(path), _READ_FLAGS)
    try:
        expected_bytes = os.fstat(descriptor).st_size
        if expected_bytes > max_bytes:
            raise _make_size_error(path, max_bytes)
        data = os.read(descriptor, expected_bytes + 1)
        # As many bytes as expected, and not the one more that was asked for: that is the end.
        while len(data) != expected_bytes and (chunk := os.read(descriptor, _READ_BYTES)):
            data += chunk
            if len(data) > max_bytes:
                raise _make_size_error(path, max_bytes)
    finally:
        os.close(descriptor)
    return data


def get_user_id() -> int | None:
    """Return the id of the effective user, for ``open_regular``; None where files have no owners."""
    return os.geteuid() if hasattr(os, "geteuid") else None


def find_status(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Return the status of a path without following links, or None if it does not exist."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def get_state(status: os.stat_result) -> tuple[int, ...]:
    """Return what differs once a path is another file, or its content has changed."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


def walk(tree: str, *, folders: bool = False) -> Iterator[str]:
    """Yield the relative path, with ``/``, of every file below ``tree``; also of every directory if ``folders``.

    Links to directories count as directories, and are not followed; a directory that cannot be read counts as empty.
    """
    waiting = [""]
    for inner in waiting:  # which grows
        for entry in _list_entries(f"{tree}/{inner}" if inner else tree):
            path = inner + entry.name
            if not _is_dir(entry):
                yield path
                continue
            if folders:
                yield path
            if not entry.is_symlink():
                waiting.append(f"{path}/")


def _list_entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, for example
        return False


def _make_size_error(path: str | os.PathLike[str], max_bytes: int) -> OSError:
    return OSError(errno.EFBIG, f"it has over {max_bytes} bytes", os.fspath(path))


def _fsync_file(path: str) -> None:
    _fsync(path, os.O_RDWR if IS_WINDOWS else os.O_RDONLY)


def _fsync(path: str, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        fsync_open(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error  # os.fsync does not name the path
    finally:
        os.close(descriptor)


def _retry_sharing_violation(action: Callable[..., None], *paths: str | os.PathLike[str]) -> None:
    """Retry ``action`` on Windows, where a file that a reader or a virus scanner has open cannot be renamed."""
    until_s = clock.get_monotonic_s() + (_RENAME_RETRY_S if IS_WINDOWS else 0)
    while True:
        try:
            return action(*paths)
        except PermissionError:
            if clock.get_monotonic_s() >= until_s:
                raise
        time.sleep(_POLL_INTERVAL_S)
