"""The layout ``flat``: the files of a model are directly in the directory that the user names."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.exchange import exchange
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import CacheError
from tfimm_resolver.integrations.serving.marker import (
    FILE_NAME,
    Marker,
    find_changed,
    find_foreign,
    read_marker,
    write_marker,
)
from tfimm_resolver.integrations.serving.model_files import ModelFiles
from tfimm_resolver.integrations.serving.outcome import Published
from tfimm_resolver.integrations.serving.staging import PATTERN, Staging, is_staging, remove_leftovers, shorten_label
from tfimm_resolver.locking.directory_lock import hold_directory
from tfimm_resolver.manifest import SAVED_MODEL_FILES

_FILL_LABEL = "model"
_NOT_REPLACEABLE = {errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL}
"""Errors of a rename over a directory that can be filled nevertheless: a mount point, or a parent that may not be written."""

_OF_FILE_SYSTEMS = "lost+found"
_EMPTY = Marker("", "", {})


def publish_flat(model: ModelFiles, directory: str) -> Published:
    """Make a directory hold a model and nothing else: in one step, or else file by file, its graph last.

    Raises:
        CacheError: if it is not a directory, or holds something that this package did not write.
        OSError: if it cannot be written.
    """
    _check_kind(directory)
    if _must_stay(directory):
        return _fill(model, directory)
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    try:
        return _replace(model, directory)
    except OSError as error:
        if isinstance(error, CacheError) or error.errno not in _NOT_REPLACEABLE or not os.path.isdir(directory):
            raise
        return _fill(model, directory)


def _replace(model: ModelFiles, directory: str) -> Published:
    """Prepare the model beside the directory, and rename it to the directory, or exchange the two."""
    parent, name = os.path.split(directory)
    with hold_directory(parent) as is_locked:
        remove_leftovers(parent, shorten_label(name), is_locked=is_locked)
        before = fs.find_status(directory)
        if before is not None and _check_contents(model, directory):
            return model.make_outcome(directory, None)
        with Staging(parent, name) as staging:
            counts = staging.fill(model)
            if before is not None:
                os.chmod(staging.tree, stat.S_IMODE(before.st_mode))
            install_tree(staging, directory)
    return model.make_outcome(directory, counts)


def install_tree(staging: Staging, target: str) -> None:
    """Rename the filled tree to a path that does not exist, that is empty, or that holds what is to be replaced."""
    try:
        return fs.durable_rename(staging.tree, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    if exchange(staging.tree, target):
        if (found := _find_error(staging.tree, target)) is not None:  # it was put there a moment ago
            exchange(staging.tree, target)
            raise found
        fs.fsync_dir(os.path.dirname(target))
        return
    os.rename(target, f"{staging.old}/tree")
    fs.durable_rename(staging.tree, target)


def _fill(model: ModelFiles, directory: str) -> Published:
    """Prepare the model inside the directory, then move its members: a reader who sees the graph sees all of the model."""
    with hold_directory(directory) as is_locked:
        remove_leftovers(directory, _FILL_LABEL, is_locked=is_locked)
        if _check_contents(model, directory):
            return model.make_outcome(directory, None)
        with Staging(directory, _FILL_LABEL) as staging:
            counts = staging.fill(model)
            complete = model.make_marker()
            before = read_marker(directory) or _EMPTY
            files = {**before.files, **complete.files}
            write_marker(Marker(complete.handle, complete.content, files, is_complete=False), directory, staging.path)
            for member in _sort_graphs_last(before.files)[::-1]:
                if os.path.lexists(f"{directory}/{member}"):
                    os.rename(f"{directory}/{member}", f"{staging.old}/{member}")
            for member in _sort_graphs_last(complete.files):
                if member in SAVED_MODEL_FILES:
                    fs.fsync_dir(directory)  # a power failure may not leave the graph without the rest
                os.rename(f"{staging.tree}/{member}", f"{directory}/{member}")
            write_marker(complete, directory, staging.path)
    return model.make_outcome(directory, counts)


def _sort_graphs_last(paths: Iterable[str]) -> list[str]:
    """Return the names at the top of a model, its graph last."""
    return sorted({path.partition("/")[0] for path in paths}, key=lambda name: (name in SAVED_MODEL_FILES, name))


def _check_kind(directory: str) -> None:
    """Check that the path is a directory, or does not exist."""
    if os.path.islink(directory):
        raise CacheError(
            f"cannot publish to {show(directory)}: it is a symbolic link",
            fix=f"Name the directory that it leads to: {show(os.path.realpath(directory))}",
        )
    if os.path.lexists(directory) and not os.path.isdir(directory):
        raise CacheError(
            f"cannot publish to {show(directory)}: it is not a directory", fix="Give another directory, or move the file away."
        )
    if _has_versions(directory):
        raise CacheError(
            f"cannot publish to {show(directory)}: it has versions of a model, for TensorFlow Serving",
            fix="Nothing was changed. Name another directory, or use the layout tf-serving.",
        )


def _has_versions(directory: str) -> bool:
    """Whether a directory has versions that this package published there."""
    if not os.path.isdir(directory) or os.path.lexists(f"{directory}/{FILE_NAME}"):
        return False
    names = [name for name in os.listdir(directory) if name.isdecimal()]
    return any(read_marker(f"{directory}/{name}") is not None for name in names)


def _check_contents(model: ModelFiles, directory: str) -> bool:
    """Return whether a directory holds the model already.

    Raises:
        CacheError: if it holds something that this package did not write.
    """
    marker = read_marker(directory)
    is_complete = marker is not None and marker.content == model.content and marker.is_intact(directory)
    if is_complete and not model.shares_files(directory):
        return True
    if (error := _find_error(directory, directory)) is not None:
        raise error
    return False


def _find_error(current: str, directory: str) -> CacheError | None:
    """Return the error if a directory, which may have been moved to ``current``, has something that others wrote."""
    marker = read_marker(current)
    if marker is None and os.path.lexists(f"{current}/{FILE_NAME}"):
        return make_foreign_error(directory, FILE_NAME)
    foreign = find_foreign(current, (marker or _EMPTY).files, _list_ignored(directory, current))
    if foreign is not None:
        return make_foreign_error(directory, foreign)
    changed = find_changed(current, marker) if marker is not None else None
    return make_changed_error(directory, changed) if changed is not None else None


def make_foreign_error(directory: str, path: str) -> CacheError:
    """Return the error for a directory that holds something else than a model that this package put there."""
    return CacheError(
        f"cannot publish to {show(directory)}: it contains {show(path)}, which tfimm_resolver did not write",
        fix="Nothing was changed. Move it away, or name another directory.",
    )


def make_changed_error(directory: str, path: str) -> CacheError:
    """Return the error for a published directory with a file that was replaced or edited."""
    return CacheError(
        f"cannot publish to {show(directory)}: {show(path)} in it was changed since it was published",
        fix="Nothing was changed. Move that file away to have the model's own put there, or name another directory.",
    )


def _list_ignored(directory: str, current: str) -> list[str]:
    """Return the names in a directory that are not part of a model: a cache inside it, staging, what its disk needs."""
    ignored = [_OF_FILE_SYSTEMS] if os.path.ismount(current) else []
    ignored += [name for name in os.listdir(current) if PATTERN.fullmatch(name) and is_staging(f"{current}/{name}")]
    inner = os.path.relpath(os.path.realpath(settings.local_root().value), os.path.realpath(directory)).split(os.sep)
    return ignored if inner[0] in (os.pardir, os.curdir) else [*ignored, inner[0]]


def _must_stay(directory: str) -> bool:
    """Whether an existing directory has to stay the same one.

    It is a mount point, its parent may not be written, another user owns it, the working directory is in it, or the cache.
    """
    status = fs.find_status(directory)
    if status is None:
        return False
    is_others = hasattr(os, "geteuid") and status.st_uid != os.geteuid()
    if is_others or os.path.ismount(directory) or not os.access(os.path.dirname(directory), os.W_OK | os.X_OK):
        return True
    real = os.path.realpath(directory)
    inner = (os.path.realpath(os.curdir), os.path.realpath(settings.local_root().value))
    return any(f"{path}/".startswith(f"{real}/") for path in inner)
