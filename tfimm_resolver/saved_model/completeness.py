"""Checks whether a directory contains a complete SavedModel."""

from __future__ import annotations

import os
import re
from collections.abc import Container

from tfimm_resolver.manifest import SAVED_MODEL_FILES

_SHARD = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")
_NO_GRAPH = "saved_model.pb is missing"


def find_defect(path: str) -> str | None:
    """Return why a directory is not a complete SavedModel, or None if it is one; reads no file.

    It must contain a graph and, if it has a ``variables`` directory, the index and every data shard in it. These must be
    regular files: TensorFlow would wait at a pipe for ever.
    """
    try:
        return _find_missing_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return "there is no such directory, or its variables are not a directory"
    except (OSError, ValueError) as error:  # a name that is not allowed; no permission
        return str(error)


def find_defect_inside(path: str) -> str | None:
    """Return why a directory neither is a complete SavedModel nor contains complete ones only, or None.

    For trees that nothing is recorded of: plain tensorflow_hub unpacks any archive, and the SavedModel may lie deeper.
    """
    if (defect := find_defect(path)) != _NO_GRAPH:
        return defect
    from tfimm_resolver.saved_model import locate  # imported for such trees only

    found = locate.find_models_on_disk(path)
    for directory in found.directories:
        if (missing := find_defect(f"{path}/{directory}")) is not None:
            return f"{directory}: {missing}"
    if not found.directories:
        return defect
    # Cleaners of temporary directories remove files and keep directories.
    return f"{found.graphless[0]}/{_NO_GRAPH}".lstrip("/") if found.graphless else None


def _find_missing_file(path: str) -> str | None:
    names = _list_names(path)
    graphs = [name for name in SAVED_MODEL_FILES if name in names]
    if not graphs:
        return _NO_GRAPH
    if not names[graphs[0]].is_file():
        return f"{graphs[0]} is not a regular file"
    if "variables" in names:
        variables = _list_names(f"{path}/variables")
        shards = {name: match[2] for name in variables if (match := _SHARD.fullmatch(name))}
        missing = [name for total in {*shards.values()} or {"00001"} if (name := _find_missing_shard(total, variables))]
        if "variables.index" not in variables:
            missing.append("variables.index")
        if missing:
            return f"variables/{min(missing)} is missing"
        if special := [name for name in ("variables.index", *shards) if not variables[name].is_file()]:
            return f"variables/{special[0]} is not a regular file"
    return None


def _list_names(path: str) -> dict[str, os.DirEntry[str]]:
    """Return the names in a directory; its entries know which of them are files, without a system call for each."""
    with os.scandir(path) as entries:
        return {entry.name: entry for entry in entries}


def _find_missing_shard(total: str, variables: Container[str]) -> str | None:
    """Return the name of the first of ``total`` shards that is missing; takes no longer than there are files."""
    names = (f"variables.data-{number:05}-of-{total}" for number in range(int(total)))
    return next((name for name in names if name not in variables), None)
