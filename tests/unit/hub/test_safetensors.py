"""Tests of ``hub.safetensors``: reads arrays, and refuses files that do not match their header."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tfimm_resolver.errors import WeightsError
from tfimm_resolver.hub import safetensors

HEADER = {
    "__metadata__": {"format": "np"},
    "b": {"dtype": "F32", "shape": [2], "data_offsets": [3, 11]},
    "a": {"dtype": "BOOL", "shape": [3], "data_offsets": [0, 3]},
}
DATA = b"\1\0\1" + np.array([1.5, -2], "<f4").tobytes()


def write(path: Path, header: object = HEADER, data: bytes = DATA) -> str:
    """Write a file with a header and data."""
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return str(path)


def test_arrays_are_read_in_the_order_of_their_data(tmp_path: Path) -> None:
    arrays = safetensors.read(write(tmp_path / "m.safetensors"))
    assert [*arrays] == ["a", "b"]
    assert arrays["a"].tolist() == [True, False, True] and arrays["b"].tolist() == [1.5, -2]
    assert arrays["b"].dtype == np.float32 and arrays["b"].flags.writeable


def test_a_truncated_file_a_gap_and_an_overlap_are_errors(tmp_path: Path) -> None:
    gap = {"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}
    negative = {"a": {"dtype": "U8", "shape": [-1], "data_offsets": [0, 1]}}
    for header, data in ((HEADER, DATA[:-1]), (gap, DATA), (negative, DATA)):
        with pytest.raises(WeightsError, match="is damaged or truncated"):
            safetensors.read(write(tmp_path / "m", header, data))
    for body in (b"", b"short", (1 << 40).to_bytes(8, "little") + b"{}"):
        (tmp_path / "m").write_bytes(body)
        with pytest.raises(WeightsError, match="is truncated"):
            safetensors.read(str(tmp_path / "m"))
