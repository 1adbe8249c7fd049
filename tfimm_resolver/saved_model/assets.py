"""Lists the assets that the graph of a SavedModel names, without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from tfimm_resolver._util import fs
from tfimm_resolver.saved_model import wire

_META_GRAPH, _ASSET, _FILENAME = 2, 6, 2
"""Fields of SavedModel, MetaGraphDef and AssetFileDef (tensorflow/core/protobuf/{saved_model,meta_graph}.proto)."""

_NAME_BYTES_MAX, _ASSETS_MAX, _FIELDS_MAX = 4096, 10_000, 1_000_000


def list_asset_names(path: str) -> list[str] | None:
    """Return the names, below ``assets/``, that the graph in a directory needs; None if it cannot be read as a graph.

    Skips what is between them, so that a large graph costs a few reads.
    """
    try:
        with open(f"{path}/saved_model.pb", "rb", opener=fs.open_regular_target) as file:
            return _read_names(file)
    except (OSError, ValueError):  # not a graph in the binary format
        return None


def _read_names(file: BinaryIO) -> list[str]:
    names = list[str]()
    for graph, start, stop in _iterate_fields(file, 0, os.fstat(file.fileno()).st_size):
        for field, asset_start, asset_stop in _iterate_fields(file, start, stop) if graph == _META_GRAPH else ():
            for part, name_start, name_stop in _iterate_fields(file, asset_start, asset_stop) if field == _ASSET else ():
                if part == _FILENAME:
                    if name_stop - name_start > _NAME_BYTES_MAX or len(names) == _ASSETS_MAX:
                        raise ValueError("too many or too long names")
                    file.seek(name_start)
                    names.append(file.read(name_stop - name_start).decode())
    return names


def _iterate_fields(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each field of a message, and where its content is. Raises ValueError if it is not a message."""

    def read(at: int, size_bytes: int) -> bytes:
        file.seek(at)
        return file.read(size_bytes)

    for count, (number, _, begin, end) in enumerate(wire.iterate_spans(read, start, stop), 1):
        if count > _FIELDS_MAX:
            raise ValueError("too many fields")
        yield number, begin, end
