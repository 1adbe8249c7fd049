"""Reads .safetensors: eight bytes of length, a JSON header, raw numbers (https://github.com/huggingface/safetensors)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from tfimm_resolver.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np

_HEADER_BYTES_MAX = 100_000_000
_TYPES = {
    **{f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IUF" for size in (1, 2, 4, 8) if kind != "F" or size > 1},
    "BOOL": "?",
    "C64": "<c8",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


def read(path: str) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays by name.

    Raises:
        WeightsError: if the file is not what its header says.
    """
    import numpy as np

    with open(path, "rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > min(_HEADER_BYTES_MAX, size_bytes - 8):
            raise WeightsError(f"{path} is no .safetensors, or is cut short: its header would have {header_bytes} bytes")
        header = json.loads(file.read(header_bytes))
        header.pop("__metadata__", None)
        arrays, at = {}, 0
        for name, told in sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"])):
            kind, shape, (start, stop) = _type(told["dtype"]), told["shape"], told["data_offsets"]
            is_shape = all(isinstance(size, int) and size >= 0 for size in shape)
            if not is_shape or start != at or 8 + header_bytes + stop > size_bytes:
                raise WeightsError(f"{path} is damaged, or cut short: it says of {name} {told}, where {at} comes next")
            arrays[name], at = np.frombuffer(bytearray(file.read(stop - start)), kind).reshape(shape), stop
    return arrays


def _type(name: str) -> np.dtype[Any]:
    import numpy as np

    if "float" not in (known := _TYPES[name]):
        return np.dtype(known)
    import ml_dtypes  # comes with TensorFlow

    extra: np.dtype[Any] = np.dtype(getattr(ml_dtypes, known))
    return extra
