"""Staging directories beside the published one: what is published is prepared there, and what it replaces removed there."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from types import TracebackType

from tfimm_resolver._util import clock, fs
from tfimm_resolver._util.copies import copy_file
from tfimm_resolver.archives.member_policy import join_safely
from tfimm_resolver.integrations.serving.marker import FILE_NAME, write_marker
from tfimm_resolver.integrations.serving.model_files import ModelFiles

PATTERN = re.compile(r"\.tmp-(.+)-[0-9a-f]{8}\.tfimm_resolver")
"""The name of a staging directory: servers ignore names that are not numbers, and most programs those with a dot."""

_LABEL_BYTES_MAX = 60
_UNLOCKED_AGE_S = 86_400
"""Seconds after which a staging directory counts as left by a dead process, where the file system has no locks."""


class Staging:
    """A staging directory. It has a marker from its first file to its last, and so is known as ours after any kill.

    Attributes:
        path: the directory.
        tree: the directory in it that is filled, and that is then renamed.
        old: where something is moved to be removed.
    """

    def __init__(self, folder: str, label: str) -> None:
        self.path = f"{folder}/.tmp-{shorten_label(label)}-{os.urandom(4).hex()}.tfimm_resolver"
        self.tree, self.old = f"{self.path}/tree", f"{self.path}/old"

    def __enter__(self) -> Staging:
        os.mkdir(self.path)  # not a private mode: what is moved out of it is for other users
        with open(f"{self.path}/{FILE_NAME}", "x", opener=fs.open_regular):
            pass
        os.mkdir(self.tree)
        os.mkdir(self.old)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: TracebackType | BaseException | None) -> None:
        with contextlib.ExitStack() as stack:
            if kind is not None:  # the error that ended the work is the one to report
                stack.enter_context(contextlib.suppress(OSError))
            _remove(self.path)

    def fill(self, model: ModelFiles) -> dict[str, int]:
        """Put the files of a model and its marker into the tree, and flush them; return how many files by which way."""
        counts: dict[str, int] = {}
        readable = stat.S_IMODE(os.stat(self.tree).st_mode) & 0o444
        for file in model.files:
            target = join_safely(self.tree, file.path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            source = join_safely(model.path, file.path)
            way = copy_file(source, target, may_link=model.may_link, readable=readable)
            counts[way] = counts.get(way, 0) + 1
        write_marker(model.make_marker(), self.tree, self.path)
        fs.fsync_tree(self.tree)
        return counts


def shorten_label(label: str) -> str:
    """Return a label as it is in the name of a staging directory, which may not become too long."""
    return label.encode("utf-8", "surrogatepass")[:_LABEL_BYTES_MAX].decode("utf-8", "ignore")


def remove_leftovers(folder: str, label: str | None, *, is_locked: bool) -> None:
    """Remove the staging directories that killed processes left in a directory.

    Only those that are empty or have a marker, of that label unless it is None. Without a lock another process may be at work:
    then only old ones are removed.
    """
    try:
        children = os.listdir(folder)
    except PermissionError:  # one that may only be entered
        return
    for child in children:
        match, path = PATTERN.fullmatch(child), f"{folder}/{child}"
        if match and label in (None, match[1]) and is_staging(path) and (is_locked or _is_old(path)):
            with contextlib.suppress(OSError):  # another user's: it only takes room
                _remove(path)


def is_staging(path: str) -> bool:
    """Whether a path with such a name is a staging directory of this package: it has a marker, or is empty."""
    status = fs.find_status(path)
    if status is None or not stat.S_ISDIR(status.st_mode):
        return False
    try:
        names = os.listdir(path)
    except OSError:
        return False
    return not names or FILE_NAME in names


def _is_old(path: str) -> bool:
    status = fs.find_status(path)
    return status is not None and clock.get_time_s() - status.st_mtime > _UNLOCKED_AGE_S


def _remove(path: str) -> None:
    """Remove a staging directory, its marker last."""
    for child in os.listdir(path):
        if child == FILE_NAME:
            continue
        inner = f"{path}/{child}"
        if os.path.isdir(inner) and not os.path.islink(inner):
            fs.remove_tree(inner)
        else:
            fs.unlink(inner)
    fs.unlink(f"{path}/{FILE_NAME}")
    os.rmdir(path)
