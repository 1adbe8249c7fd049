"""Chooses the directory of a tree that a handle stands for: the one that it names, or that of the one SavedModel in it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.member_policy import check_subdirectory
from tfimm_resolver.cache.record import Record
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.errors import NotFoundError
from tfimm_resolver.handles.fragment import format_subdirectory, split_fragment
from tfimm_resolver.manifest import SAVED_MODEL_FILES, get_model_directory
from tfimm_resolver.saved_model import locate
from tfimm_resolver.saved_model.locate import FoundModels

_LISTED_MAX = 10


def select_model(found: ModelLocation, *, versions: bool = True) -> str:
    """Return the directory that the handle stands for: the subdirectory that it chooses, else that of the SavedModel.

    Without a choice it is the top of the tree; but the only SavedModel in it if the top is not one itself, or the highest
    version of the only one. If there are several, or none, it stays the top. A URL that has no record is not listed.

    Args:
        found: where the tree is.
        versions: whether directories whose names are integers count as versions of one model.

    Raises:
        NotFoundError: if the tree does not contain the subdirectory.
    """
    if found.subdirectory:
        return _join(found.path, choose_subdirectory(found))
    if found.record is not None and _is_top_recorded(found.record):  # each hit comes here
        return found.path
    if (models := _find_models(found)) is None:
        return found.path
    return _join(found.path, (models.newest if versions else models.only) or "")


def select_path(path: str) -> str:
    """Return what ``resolve`` returns for a local directory, which may be followed by ``#subdirectory=``.

    Any other path or URL is returned as it is. Raises as ``select_model`` does; also HandleError.
    """
    if os.path.isdir(path):
        return select_model(ModelLocation(path))
    text, _, directory = split_fragment(path)
    if not directory or not os.path.isdir(text):
        return path
    return select_model(ModelLocation(text, None, check_subdirectory(directory)))


def choose_subdirectory(found: ModelLocation) -> str:
    """Return the directory that the handle chooses, relative to the top, which is empty; for a graph, the directory of that.

    Raises:
        NotFoundError: if the tree does not contain it; not for a URL that has no record.
    """
    directory = get_model_directory("" if found.subdirectory == "." else found.subdirectory)
    if not directory or _contains(found, directory):
        return directory
    raise NotFoundError(
        f"{show(found.path)} has no directory {show(directory)}\n  {describe_tree(found)}", fix=suggest_subdirectory(found)
    )


def get_top(found: ModelLocation) -> str:
    """Return the top of a tree, all of which is wanted; raises NotFoundError if it lacks the subdirectory of the handle."""
    choose_subdirectory(found)
    return found.path


def describe_tree(found: ModelLocation) -> str:
    """Describe what a tree contains, in one line: its SavedModels, else the names at its top."""
    models = _find_models(found)
    if models is not None and models.directories == ("",):
        return "the SavedModel is at its top, where a single directory around it was removed"
    if models is not None and models.directories:
        return f"SavedModels are in: {list_shortly(models.directories)}"
    return f"it contains: {list_shortly(_list_top(found)) or 'nothing'}"


def suggest_subdirectory(found: ModelLocation) -> str:
    """Return the advice to choose one of the SavedModels in a tree; empty if there is none."""
    models = _find_models(found)
    if models is None or not models.directories:
        return ""
    if models.directories == ("",):
        return "Leave the #subdirectory out."
    return f"Choose one of them at the end of the handle: {show(format_subdirectory(models.directories[0]))}"


def list_shortly(names: Iterable[str]) -> str:
    """Return names for a message, the first ones if there are many."""
    names = list(names)
    rest = f" and {len(names) - _LISTED_MAX} more" if len(names) > _LISTED_MAX else ""
    return ", ".join(map(show, names[:_LISTED_MAX])) + rest


def is_saved_model(found: ModelLocation) -> bool:
    """Whether the chosen directory, or the top of the tree, is a SavedModel, as far as is known without listing anything."""
    path, prefix = _join(found.path, found.subdirectory), f"{found.subdirectory}/".removeprefix("/")
    if found.record is not None and found.record.files is not None:
        graphs = {prefix + name for name in SAVED_MODEL_FILES}
        return any(file.path in graphs for file in found.record.files)
    return "://" not in path and any(os.path.isfile(f"{path}/{name}") for name in SAVED_MODEL_FILES)


def _is_top_recorded(record: Record) -> bool:
    for file in record.files or ():  # noqa: SIM110  # any() takes three times as long
        if file.path in SAVED_MODEL_FILES:
            return True
    return False


def _find_models(found: ModelLocation) -> FoundModels | None:
    """Return the SavedModels in the tree; None if they are not known without a request."""
    if found.record is not None and found.record.files is not None:
        return locate.find_models_in_list(file.path for file in found.record.files)
    return None if "://" in found.path else locate.find_models_on_disk(found.path)


def _contains(found: ModelLocation, directory: str) -> bool:
    """Whether the tree has a directory; True for a URL of which nothing is recorded, which is not asked."""
    if found.record is not None and found.record.files is not None:
        return any(file.path.startswith(f"{directory}/") for file in found.record.files)
    return "://" in found.path or os.path.isdir(_join(found.path, directory))


def _list_top(found: ModelLocation) -> list[str]:
    if found.record is not None and found.record.files is not None:
        return sorted({file.path.partition("/")[0] for file in found.record.files})
    try:
        return sorted(os.listdir(found.path))
    except OSError:
        return []


def _join(path: str, directory: str) -> str:
    """Return the path of a directory of the tree, whose name was checked by ``safe_parts``."""
    return f"{path.rstrip('/')}/{directory}" if directory else path
