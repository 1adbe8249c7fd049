"""Reads .safetensors: the header length in eight bytes, a JSON header, raw numbers (github.com/huggingface/safetensors)."""

from __future__ import annotations

import os
from math import prod
from typing import TYPE_CHECKING, Any

from tfimm_resolver._util import fs
from tfimm_resolver._util.dtypes import get_dtype
from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np

_HEADER_BYTES_MAX = 5 << 20  # of 40,000 arrays
_HEADER_VALUES_MAX = 600_000  # an array of four dimensions has ten; a list takes 30 times the memory of its text
_TYPES = {
    **{f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IUF" for size in (1, 2, 4, 8) if kind != "F" or size > 1},
    "BOOL": "?",
    "C64": "<c8",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


def read(path: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of a file by name.

    Raises:
        WeightsError: if the file does not match its header.
    """
    import numpy as np

    with open(path, "rb", opener=fs.open_regular_target) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > min(_HEADER_BYTES_MAX, size_bytes - 8):
            raise WeightsError(
                f"{show(path)} is not a .safetensors file, or is truncated: its header would have {header_bytes} bytes"
            )
        header = parse_json(
            file.read(header_bytes),
            max_bytes=_HEADER_BYTES_MAX,
            max_values=_HEADER_VALUES_MAX,
            pairs_hook=_reject_duplicates,
        )
        header.pop("__metadata__", None)
        arrays, position, left_bytes = {}, 0, size_bytes - 8 - header_bytes
        for name, entry in sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"])):
            kind, shape, (start, stop) = get_dtype(_TYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
            is_valid = all(type(number) is int and number >= 0 for number in (*shape, start, stop))  # True is not a size
            if not is_valid or start != position or stop - start != prod(shape) * kind.itemsize or stop > left_bytes:
                raise WeightsError(
                    f"{show(path)} is damaged or truncated: {show(name)} is {show(entry)}, "
                    f"but the data offset must be {position}"
                )
            arrays[name], position = np.frombuffer(bytearray(file.read(stop - start)), kind).reshape(shape), stop
        if position != left_bytes:
            raise WeightsError(f"{show(path)} is damaged: {left_bytes - position} bytes follow the last array")
    return arrays


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(table := dict(pairs)) < len(pairs):
        raise WeightsError("a name is twice in its header")
    return table
