"""The layout ``tf-serving``: each version of a model is a directory with a number.

By default TensorFlow Serving looks for new directories once a second, and loads the highest version (serving_config.md).
"""

from __future__ import annotations

import os
import re

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import CacheError
from tfimm_resolver.integrations.serving.flat_layout import install_tree, make_changed_error, make_foreign_error
from tfimm_resolver.integrations.serving.marker import FILE_NAME, find_changed, find_foreign, read_marker
from tfimm_resolver.integrations.serving.model_files import ModelFiles
from tfimm_resolver.integrations.serving.outcome import Published
from tfimm_resolver.integrations.serving.staging import Staging, remove_leftovers
from tfimm_resolver.locking.directory_lock import hold_directory

VERSION_MAX = (1 << 63) - 1
"""The highest number that TensorFlow Serving reads."""

_NUMBER = re.compile(r"[0-9]{1,19}")


def publish_version(model: ModelFiles, base: str, version: int | None, suggested: int | None, keep: int) -> Published:
    """Make a model one version in a directory, in one step, and remove old versions that this package put there.

    Args:
        model: the files of a SavedModel.
        base: the directory with the versions.
        version: the number; None to choose one, so that the model becomes the highest version.
        suggested: the number to choose if it is higher than all others.
        keep: how many versions stay.

    Raises:
        CacheError: if ``base`` is not a directory, or the version is another model.
        OSError: if it cannot be written.
    """
    if os.path.lexists(base) and not os.path.isdir(base):
        raise CacheError(
            f"cannot publish to {show(base)}: it is not a directory", fix="Give another directory, or move the file away."
        )
    if os.path.lexists(f"{base}/{FILE_NAME}"):
        raise CacheError(
            f"cannot publish versions to {show(base)}: it is a flat model",
            fix="Nothing was changed. Name another directory, or use the layout flat.",
        )
    os.makedirs(base, exist_ok=True)
    with hold_directory(base) as is_locked:
        remove_leftovers(base, None, is_locked=is_locked)
        number = _choose_number(model, base, suggested) if version is None else version
        path = f"{base}/{number}"
        counts = None if _check_version(model, path) else _publish(model, base, path)
        removed = _remove_old(base, keep, number)
    return model.make_outcome(path, counts, version=number, removed=removed)


def list_versions(base: str) -> dict[int, str]:
    """Return the names of the directories in a directory that TensorFlow Serving takes for versions, by their numbers."""
    if not os.path.isdir(base):
        return {}
    names = [name for name in sorted(os.listdir(base)) if _NUMBER.fullmatch(name) and os.path.isdir(f"{base}/{name}")]
    return {int(name): name for name in names if int(name) <= VERSION_MAX}


def _publish(model: ModelFiles, base: str, path: str) -> dict[str, int]:
    with Staging(base, os.path.basename(path)) as staging:
        counts = staging.fill(model)
        install_tree(staging, path)
    return counts


def _choose_number(model: ModelFiles, base: str, suggested: int | None) -> int:
    """Return the number of the highest version if it is this model, else a higher one."""
    versions = list_versions(base)
    if not versions:
        return 1 if suggested is None else suggested
    highest = max(versions)
    marker = read_marker(f"{base}/{versions[highest]}")
    if marker is not None and marker.content == model.content and versions[highest] == str(highest):
        return highest
    return suggested if suggested is not None and suggested > highest else highest + 1


def _check_version(model: ModelFiles, path: str) -> bool:
    """Return whether a version is the model already; False if it does not exist, or is a copy to replace.

    Raises:
        CacheError: if it is something else.
    """
    if not os.path.lexists(path) or (os.path.isdir(path) and not os.path.islink(path) and not os.listdir(path)):
        return False
    marker = read_marker(path) if not os.path.islink(path) else None
    if marker is None:
        raise CacheError(
            f"cannot publish to {show(path)}: tfimm_resolver did not write what is there",
            fix="Nothing was changed. Choose another version.",
        )
    if marker.content != model.content:
        raise CacheError(
            f"cannot publish {show(model.handle)} to {show(path)}: that version is another model, from {show(marker.handle)}",
            fix="Nothing was changed. Choose another version: a server does not load a version again that it has loaded.",
        )
    if marker.is_intact(path) and not model.shares_files(path):
        return True
    if (foreign := find_foreign(path, marker.files)) is not None:
        raise make_foreign_error(path, foreign)
    if (changed := find_changed(path, marker)) is not None:
        raise make_changed_error(path, changed)
    return False


def _remove_old(base: str, keep: int, published: int) -> tuple[int, ...]:
    """Remove all but the highest ``keep`` versions that this package put there, each in one step; return their numbers."""
    versions = list_versions(base)
    own = [number for number in sorted(versions, reverse=True) if _is_published(f"{base}/{versions[number]}")]
    removed = [number for number in own[keep:] if number != published]
    if removed:
        with Staging(base, "old") as staging:
            for number in removed:
                os.rename(f"{base}/{versions[number]}", f"{staging.old}/{number}")
    return tuple(removed)


def _is_published(path: str) -> bool:
    """Whether a directory holds a model that this package put there, and nothing else."""
    marker = None if os.path.islink(path) else read_marker(path)
    return marker is not None and find_foreign(path, marker.files) is None and find_changed(path, marker) is None
