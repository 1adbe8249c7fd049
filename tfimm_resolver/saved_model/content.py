"""Checks whether the files of a SavedModel have all that its graph and its index name; reads no data file."""

from __future__ import annotations

import errno
import os

from tfimm_resolver.errors import WeightsError
from tfimm_resolver.saved_model import completeness, recognition
from tfimm_resolver.saved_model.assets import read_asset_names
from tfimm_resolver.saved_model.checkpoint_index import CheckpointIndex, read_index
from tfimm_resolver.saved_model.messages import MessageSource, open_source

_LISTED_MAX = 100
_GRAPH_START, _INDEX_START = b"\x08\x01\x12", b"\0\0"
"""What a damaged file still begins with: the version and the first graph; an empty name, for the header."""


def find_missing_content(path: str, *, is_strict: bool = False, index: CheckpointIndex | None = None) -> list[str]:
    """Return what is missing in the directory of a SavedModel, at most 100 entries; empty if it is complete.

    Besides the files that ``find_defect`` looks for: each data file has to reach the end of its last tensor in the index, and
    each asset that the graph names has to be there. A graph in another format is not looked at.

    Args:
        path: the directory.
        is_strict: also report a graph or an index that does not even begin like one.
        index: that of its weights, if it was read already.
    """
    if (defect := completeness.find_defect(path)) is not None and not _is_without_variables(path):
        return [defect]
    return [*find_missing_data(path, is_strict=is_strict, index=index), *_find_missing_parts(path, is_strict)][:_LISTED_MAX]


def find_missing_content_inside(path: str) -> list[str]:
    """Return what is missing in the SavedModels of a tree; empty if all are complete, or there is none."""
    from tfimm_resolver.saved_model import locate

    found = list[str]()
    for directory in locate.find_models_on_disk(path).directories:
        prefix = f"{directory}/" if directory else ""
        found.extend(prefix + each for each in find_missing_content(f"{path}/{directory}" if directory else path))
    return found[:_LISTED_MAX]


def _is_without_variables(path: str) -> bool:
    """Whether the directory of the variables is empty, and the graph has none: TensorFlow 1 creates it all the same."""
    try:
        if os.listdir(f"{path}/variables"):
            return False
        from tfimm_resolver.saved_model.graph import has_variable_nodes
        from tfimm_resolver.saved_model.object_graph import needs_variables

        with open_source(f"{path}/saved_model.pb") as source:
            return not needs_variables(source) and not has_variable_nodes(source)
    except (OSError, ValueError):
        return False


def find_missing_data(path: str, *, is_strict: bool = False, index: CheckpointIndex | None = None) -> list[str]:
    """Return which data files are missing or end before their last tensor; arguments as for ``find_missing_content``."""
    prefix = f"{path}/variables/variables"
    if not os.path.lexists(f"{prefix}.index"):
        return []
    try:
        index = index or read_index(f"{prefix}.index")
        return [defect for shard, end in _measure_shards(index).items() if (defect := _find_cut(prefix, shard, index, end))]
    except WeightsError as error:
        is_index = is_strict or recognition.read_start(f"{prefix}.index").startswith(_INDEX_START)
        return [f"variables/variables.index is damaged: {error.__cause__}"] if is_index else []
    except OSError as error:
        return [f"variables cannot be read: {error.strerror}"] if error.errno != errno.EFBIG else []


def _measure_shards(index: CheckpointIndex) -> dict[int, int]:
    """Return where the last tensor of each data file ends, by the number of the file."""
    ends = dict.fromkeys(range(min(index.shards, _LISTED_MAX)), 0)
    for entry in index.tensors.values():
        ends[entry.shard] = max(ends.get(entry.shard, 0), entry.offset + entry.size_bytes)
    return ends


def _find_cut(prefix: str, shard: int, index: CheckpointIndex, end: int) -> str:
    name = f"variables.data-{shard:05}-of-{index.shards:05}"
    try:
        size_bytes = os.stat(f"{os.path.dirname(prefix)}/{name}").st_size
    except FileNotFoundError:
        return f"variables/{name} is missing"
    return f"variables/{name} has {size_bytes} bytes, but its last tensor ends at byte {end}" if size_bytes < end else ""


def _needs_variables(source: MessageSource) -> bool:
    from tfimm_resolver.saved_model.object_graph import needs_variables  # takes 1 ms that a model with variables does not pay

    return needs_variables(source)


def _find_missing_parts(path: str, is_strict: bool) -> list[str]:
    """Return the assets that are missing, and the variables, if objects of TensorFlow 2 need them."""
    graph = f"{path}/saved_model.pb"
    if not os.path.lexists(graph):
        return []
    try:
        with open_source(graph) as source:
            names = read_asset_names(source)
            lacks_variables = not os.path.isdir(f"{path}/variables") and _needs_variables(source)
    except OSError as error:
        return [f"saved_model.pb cannot be read: {error.strerror}"]
    except ValueError as error:
        is_graph = is_strict or recognition.read_start(graph).startswith(_GRAPH_START)
        return [f"saved_model.pb is damaged: {error}"] if is_graph else []
    missing = [f"assets/{name} is missing" for name in dict.fromkeys(names) if not os.path.exists(f"{path}/assets/{name}")]
    return missing + ["variables is missing"] * lacks_variables
