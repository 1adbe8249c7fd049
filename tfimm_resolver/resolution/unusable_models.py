"""Makes the errors for a path that is not a SavedModel, or contains several."""

from __future__ import annotations

from collections.abc import Iterable

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import NotASavedModelError
from tfimm_resolver.handles.fragment import format_subdirectory
from tfimm_resolver.resolution.selection import list_shortly
from tfimm_resolver.saved_model.locate import FoundModels


def make_several_models_error(path: str, models: FoundModels, subdirectory: str) -> NotASavedModelError:
    """Return the error for a directory with several SavedModels, or with one in a tree too large to be searched.

    ``subdirectory`` is the one that the handle chooses already.
    """
    contents = "more than one SavedModel" if models.is_complete else "too many directories to search all of them"
    first = show(format_subdirectory(f"{subdirectory}/{models.directories[0]}".strip("/")))
    return NotASavedModelError(
        f"{show(path)} is not a SavedModel, and contains {contents}\n  found: {list_shortly(models.directories)}",
        fix=f"Choose one of them at the end of the handle: {first}",
    )


def make_missing_model_error(path: str, names: Iterable[str]) -> NotASavedModelError:
    """Return the error for a directory with these names at its top, and no SavedModel."""
    from tfimm_resolver.saved_model import recognition

    names = sorted(names)
    found = recognition.recognize_names(name.rstrip("/") for name in names)
    return NotASavedModelError(
        f"{show(path)} is not a SavedModel: it contains neither saved_model.pb nor saved_model.pbtxt\n"
        f"  it contains: {', '.join(names[:10]) or 'nothing'}"
        + (f"\n  {show(found[0])} is {found[1].title}" if found else ""),
        fix=found[1].advice if found else "Give the directory that has one of these files, or the handle of another model.",
    )
