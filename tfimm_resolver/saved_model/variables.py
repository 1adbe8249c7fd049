"""Checks whether the data files of a SavedModel's variables are as long as their index says; reads the index only."""

from __future__ import annotations

import os

from tfimm_resolver.errors import WeightsError
from tfimm_resolver.saved_model.checkpoint_index import read_index


def find_variables_defect(path: str) -> str | None:
    """Return why the variables of the SavedModel in a directory are damaged or cut off, or None; also None without any."""
    prefix = f"{path}/variables/variables"
    if not os.path.isdir(f"{path}/variables"):
        return None
    try:
        index = read_index(f"{prefix}.index")
        needed_bytes: dict[int, int] = {}
        for entry in index.tensors.values():
            needed_bytes[entry.shard] = max(needed_bytes.get(entry.shard, 0), entry.offset + entry.size_bytes)
        for shard, size_bytes in sorted(needed_bytes.items()):
            name = f"variables.data-{shard:05}-of-{index.shards:05}"
            present_bytes = os.stat(f"{path}/variables/{name}").st_size
            if present_bytes < size_bytes:
                return f"variables/{name} has {present_bytes} bytes, should have at least {size_bytes}"
    except WeightsError as error:
        return error.text
    except OSError as error:
        return f"its variables cannot be read: {error.strerror}"
    return None
