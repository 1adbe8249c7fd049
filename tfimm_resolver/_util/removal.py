"""Removal of directories on file systems with rules of their own: overlayfs and NFS."""

from __future__ import annotations

import errno
import os

from tfimm_resolver._util import fs


def remove_tree_without_rename(path: str) -> None:
    """Remove a model's directory that cannot be renamed, so that no reader takes a partly removed one for a model.

    overlayfs cannot rename a directory of a lower layer (EXDEV; Linux, Documentation/filesystems/overlayfs.rst), such as
    a cache in a Docker image. The files at the top go first, among them saved_model.pb, without which it is not a model.
    """
    with os.scandir(path) as entries:
        files = [entry.path for entry in entries if not entry.is_dir(follow_symlinks=False)]
    for file in files:
        fs.unlink(file)
    remove_closed(path)


def remove_closed(path: str) -> None:
    """Remove a directory and everything in it, except for files that a process has open on a disk of NFS.

    Such a disk renames an open file that is removed to ``.nfs...``, until it is closed; so its directory is not empty.
    """
    try:
        fs.remove_tree(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            raise
