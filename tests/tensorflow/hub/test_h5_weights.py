"""Tests of ``hub.h5_weights`` and ``hub.size_budget``: files of a few kB that HDF5 would unpack to gigabytes are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.fakes.weights import ARRAYS, make_h5
from tfimm_resolver.errors import WeightsError
from tfimm_resolver.hub import h5_weights

BIG = 1 << 33


def make_pointers(file: h5py.File) -> None:
    """Add 2,000 rows that all point to the same megabyte, and say that they are bfloat16."""
    kind = h5py.vlen_dtype(np.uint8)
    first = file.create_dataset("first", (1,), dtype=kind)
    first[0] = np.zeros(1 << 20, "u1")
    file.flush()
    rows = file.create_dataset("rows", (2000,), dtype=kind, chunks=(2000,))
    rows.attrs["dtype"] = "bfloat16"
    offset = first.id.get_offset()
    file.flush()
    with open(file.filename, "rb") as raw:
        raw.seek(offset)
        pointer = raw.read(16)
    rows.id.write_direct_chunk((0,), pointer * 2000)


BOMBS: dict[str, Callable[[h5py.File], object]] = {
    "compressed zeros": lambda file: file.create_dataset("a", (BIG,), "u1", chunks=(1 << 24,), compression="gzip"),
    "one large chunk": lambda file: file.create_dataset(
        "a", (10,), "f4", chunks=(1 << 29,), maxshape=(None,), compression="gzip"
    ),
    "a fill value": lambda file: file.create_dataset("a", (BIG,), "u1", fillvalue=1),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_unpacks_to_gigabytes_is_refused(kind: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        BOMBS[kind](file)
    with pytest.raises(WeightsError, match="unpacks to over 67108864 bytes"):
        h5_weights.read(str(tmp_path / "m.h5"))


def test_values_of_variable_length_are_not_numbers_whatever_an_attribute_says(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        make_pointers(file)
        file["b"] = np.ones(1, "f4")
    assert [*h5_weights.read(str(tmp_path / "m.h5"))] == ["b"]


@pytest.mark.parametrize("value", [np.zeros(1 << 20, "u1"), ["bfloat16"] * 1000, b"bfloat16" * 20, 16])
def test_an_attribute_that_is_large_or_not_a_text_is_not_read(value: object, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w", libver="latest") as file:
        file["b"] = np.ones(2, "u2")
        file["b"].attrs.create("dtype", value)
    assert h5_weights.read(str(tmp_path / "m.h5"))["b"].dtype == np.uint16


def test_a_dataset_with_several_names_counts_once(tmp_path: Path) -> None:
    def link(file: h5py.File) -> None:
        file["again"] = file["scalar"]

    (tmp_path / "m.h5").write_bytes(make_h5(link))
    assert len(h5_weights.read(str(tmp_path / "m.h5"))) == len(ARRAYS)
