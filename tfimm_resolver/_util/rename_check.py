"""Finds out whether a file system can rename directories; those of mounted buckets cannot."""

from __future__ import annotations

import errno
import os

from tfimm_resolver._util import fs

_UNSUPPORTED = {*fs.UNSUPPORTED, errno.EPERM, errno.EXDEV}

_checked: set[tuple[str, int]] = set()
"""Directories whose file system passed, each with its device: another one may be mounted there later."""


class RenameUnsupportedError(OSError):
    """The file system cannot rename a directory, as that of a mounted bucket."""


def check_rename(folder: str) -> None:
    """Rename a directory with a file, below an empty directory, which is empty again afterwards.

    Raises:
        RenameUnsupportedError: if the file system cannot do that. gcsfuse renames files and empty directories only, Mountpoint
            for Amazon S3 nothing.
        OSError: for any other reason.
    """
    old, new = f"{folder}/old", f"{folder}/new"
    os.mkdir(old)
    os.close(fs.open_regular(f"{old}/file", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        os.rename(old, new)
    except OSError as error:
        fs.remove_tree(old, ignore_errors=True)
        if error.errno not in _UNSUPPORTED:
            raise
        text = f"its file system cannot rename directories ({os.strerror(error.errno)})"
        raise RenameUnsupportedError(error.errno, text, folder) from error
    os.unlink(f"{new}/file")
    os.rmdir(new)


def check_rename_once(root: str, folder: str) -> None:
    """Check an empty directory in ``root``, unless this process has checked that root; raises as ``check_rename``."""
    disk = root, os.stat(root).st_dev
    if disk not in _checked:
        check_rename(folder)
        _checked.add(disk)
