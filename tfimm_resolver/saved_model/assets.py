"""Lists the assets that the graph of a SavedModel names, without TensorFlow."""

from __future__ import annotations

from tfimm_resolver.saved_model.messages import MessageSource, open_source
from tfimm_resolver.saved_model.wire import WireError

_META_GRAPH, _ASSET, _FILENAME = 2, 6, 2
"""Fields of SavedModel, MetaGraphDef and AssetFileDef (tensorflow/core/protobuf/{saved_model,meta_graph}.proto)."""

_NAME_BYTES_MAX, _ASSETS_MAX = 4096, 10_000


def list_asset_names(path: str) -> list[str] | None:
    """Return the names, below ``assets/``, that the graph in a directory needs; None if it cannot be read as a graph.

    Skips what is between them, so that a large graph costs a few reads.
    """
    try:
        with open_source(f"{path}/saved_model.pb") as source:
            return read_asset_names(source)
    except (OSError, ValueError):  # not a graph in the binary format
        return None


def read_asset_names(source: MessageSource) -> list[str]:
    """Return the names of the assets of a SavedModel.

    Raises:
        ValueError: if it is not a SavedModel, or a name is not text.
    """
    names = list[str]()
    for asset in source.iterate_messages(source.all, _META_GRAPH, _ASSET):
        if len(names) == _ASSETS_MAX:
            raise WireError("it names too many assets")
        name = [*source.iterate_messages((asset,), _FILENAME)][-1:]
        names.extend(source.read(span, _NAME_BYTES_MAX).decode() for span in name)
    return names
