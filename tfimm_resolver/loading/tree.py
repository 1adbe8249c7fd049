"""Finds the SavedModel in a tree that TensorFlow reads, on disk or at a URL, and explains why none can be chosen."""

from __future__ import annotations

from typing import Any

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import NotASavedModelError
from tfimm_resolver.handles.fragment import format_subdirectory
from tfimm_resolver.loading import devices
from tfimm_resolver.resolution.selection import list_shortly
from tfimm_resolver.saved_model import locate
from tfimm_resolver.saved_model.locate import FoundModels


def find_models(tf: Any, path: str) -> FoundModels:
    """Find the SavedModels below a directory; what TensorFlow cannot list counts as empty."""
    if devices.is_local_path(path):
        return locate.find_models_on_disk(path)

    def list_directory(directory: str) -> tuple[set[str], list[str]]:
        folder = tf.io.gfile.join(path, directory) if directory else path
        try:
            names = tf.io.gfile.listdir(folder)
            below = [name.rstrip("/") for name in names if _is_directory(tf, folder, name)]
        except tf.errors.OpError:
            return set(), []
        return set(names), below

    return locate.find_models(list_directory)


def make_several_models_error(path: str, models: FoundModels, subdirectory: str) -> NotASavedModelError:
    """Return the error for a directory with several SavedModels, or with one in a tree too large to be searched.

    ``subdirectory`` is the one that the handle chooses already.
    """
    counted = "more than one SavedModel" if models.is_complete else "too many directories to search all of them"
    first = show(format_subdirectory(f"{subdirectory}/{models.directories[0]}".strip("/")))
    return NotASavedModelError(
        f"{show(path)} is not a SavedModel, and contains {counted}\n  found: {list_shortly(models.directories)}",
        fix=f"Choose one of them at the end of the handle: {first}",
    )


def _is_directory(tf: Any, folder: str, name: str) -> bool:
    """Whether a name in a listing is a directory; in a bucket, where asking costs a request, it ends in a slash."""
    return name.endswith("/") or (not folder.startswith("gs://") and bool(tf.io.gfile.isdir(tf.io.gfile.join(folder, name))))
