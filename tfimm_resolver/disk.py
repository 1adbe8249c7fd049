"""What a local disk needs besides the calls of ``os``: patience on Windows, and that what was written is there to stay."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tfimm_resolver import record

if TYPE_CHECKING:
    from pathlib import Path

IS_WINDOWS = os.name == "nt"

_PATIENCE_S, _POLL_S = 2.0, 0.02
_FLUSHERS = 8
_CANNOT_FLUSH = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def rename(old: str | os.PathLike[str], new: str) -> None:
    """``os.rename``, with patience, and to stay."""
    _patiently(os.rename, old, new)
    flush_folder(os.path.dirname(new))


def replace(old: str, new: str) -> None:
    """``os.replace``, with patience, and to stay."""
    _patiently(os.replace, old, new)
    flush_folder(os.path.dirname(new))


def flush(tree: str) -> None:
    """Have every file and directory below ``tree``, and itself, written to the disk.

    Raises:
        OSError: if one of them could not be; it names it.
    """
    from tfimm_resolver.ahead import Crew  # a few ms that only a miss costs

    folders = [tree]
    files: list[str] = []
    for path in record.walk(tree, folders=True):
        whole = f"{tree}/{path}"
        (folders if os.path.isdir(whole) else files).append(whole)
    # The disk takes many at once: 200 small files take 17 ms instead of 40. No executor of the standard library:
    # those refuse work as soon as the main thread has ended.
    with Crew(_FLUSHERS) as crew:
        for flush_one, paths in ((_flush_file, files), (flush_folder, folders)):
            for result in [crew.submit(flush_one, path) for path in paths]:
                result.result()


def flush_folder(path: str) -> None:
    """Have the names in a directory written to the disk, where the system knows how."""
    if IS_WINDOWS:
        return
    try:
        _flush(path, os.O_RDONLY)
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


def empty(folder: Path) -> None:
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


def _flush_file(path: str) -> None:
    _flush(path, os.O_RDWR if IS_WINDOWS else os.O_RDONLY)


def _flush(path: str, flags: int) -> None:
    file = os.open(path, flags)
    try:
        os.fsync(file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error  # which the system does not name
    finally:
        os.close(file)


def _patiently(deed: Callable[..., None], *paths: str | os.PathLike[str]) -> None:
    """Windows refuses to rename what a reader or a virus scanner has open, mostly for a moment."""
    until_s = time.monotonic() + (_PATIENCE_S if IS_WINDOWS else 0)
    while True:
        try:
            return deed(*paths)
        except PermissionError:
            if time.monotonic() >= until_s:
                raise
        time.sleep(_POLL_S)
