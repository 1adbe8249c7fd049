"""Makes files of weights."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import h5py

ARRAYS = {
    "layers/dense/vars/0": np.arange(6, dtype=np.float32).reshape(2, 3),
    "layers/dense/vars/1": np.array([1, 2, 3], np.int64),
    "scalar": np.float16(1.5),
    "empty": np.zeros((0, 3), np.uint8),
    "flags": np.array([True, False]),
    "z": np.array([1 + 2j]),
}


def make_h5(change: Callable[[h5py.File], None] = lambda _: None) -> bytes:
    """Return an HDF5 file of the arrays."""
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, array in ARRAYS.items():
            file[name] = array
        change(file)
    return out.getvalue()
