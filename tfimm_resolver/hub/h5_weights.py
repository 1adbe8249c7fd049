"""Reads the numbers of an HDF5 file, as Keras writes them to .weights.h5 and .h5, and nothing of other files."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import WeightsError
from tfimm_resolver.hub.size_budget import SizeBudget

if TYPE_CHECKING:
    import numpy as np

NUMBERS = "biufc"
"""The kinds of numpy's types that are numbers."""

_BFLOAT16 = b"bfloat16"


def read(path: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of a file by name.

    Raises:
        WeightsError: if it refers to other files, or unpacks to too much. HDF5 raises errors of other kinds.
    """
    import h5py
    import numpy as np

    arrays: dict[str, np.ndarray[Any, Any]] = {}
    budget = SizeBudget(path)

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:  # its data would be read from another file
            raise WeightsError(f"{show(path)}: {show(name)} refers to other files")
        is_bfloat = _is_bfloat16(item)
        if item.dtype.kind in NUMBERS or is_bfloat:
            # A chunk is unpacked as a whole, however little of it is inside of the dataset.
            budget.add(max(item.nbytes, prod(item.chunks or (0,)) * item.dtype.itemsize))
            array = np.asarray(item[()])
            arrays[name] = array.view(_get_bfloat16()) if is_bfloat else array

    # HDF5 would wait at a pipe for ever. It opens the path itself: reading through a file object of Python takes longer.
    with open(path, "rb", opener=fs.open_regular_target), h5py.File(path, "r") as file:
        file.visititems(visit)  # visititems does not follow links to other files
    return arrays


def _is_bfloat16(item: Any) -> bool:
    """Whether Keras noted, as an attribute, that these are bfloat16; neither may have a variable length, or be large."""
    import h5py

    if h5py.check_vlen_dtype(item.dtype) is not None or item.dtype.itemsize != 2 or item.dtype.kind not in "uV":
        return False
    if not h5py.h5a.exists(item.id, b"dtype"):
        return False
    attribute = h5py.h5a.open(item.id, b"dtype")
    is_short = attribute.shape == () and attribute.get_storage_size() <= 64
    return is_short and item.attrs["dtype"] in ("bfloat16", _BFLOAT16)


def _get_bfloat16() -> Any:
    import ml_dtypes  # comes with TensorFlow

    return ml_dtypes.bfloat16
