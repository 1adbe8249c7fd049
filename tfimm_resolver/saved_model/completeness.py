"""Checks whether a directory contains a complete SavedModel."""

from __future__ import annotations

import os
import re

from tfimm_resolver.manifest import SAVED_MODEL_FILES

_SHARD = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")
_NO_GRAPH = "saved_model.pb is missing"


def find_defect(path: str) -> str | None:
    """Return why a directory is not a complete SavedModel, or None if it is one; only lists names and reads no file.

    It must contain a graph and, if it has a ``variables`` directory, the index and every data shard in it.
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
    names = os.listdir(path)
    if not any(name in names for name in SAVED_MODEL_FILES):
        return _NO_GRAPH
    if "variables" not in names:
        return None
    variables = set(os.listdir(f"{path}/variables"))
    shards = [match for name in variables if (match := _SHARD.fullmatch(name))]
    expected = {f"variables.data-{number:05}-of-{shard[2]}" for shard in shards for number in range(int(shard[2]))}
    missing = sorted(((expected or {"variables.data-00000-of-00001"}) | {"variables.index"}) - variables)
    return f"variables/{missing[0]} is missing" if missing else None
