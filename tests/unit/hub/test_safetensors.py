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


@pytest.mark.parametrize(
    ("header", "data"),
    [
        pytest.param({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, -1]}}, b"a", id="an end before its start"),
        pytest.param({"a": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}}, b"a", id="a shape that is a flag"),
        pytest.param({"a": {"dtype": "U8", "shape": [1], "data_offsets": [False, True]}}, b"a", id="offsets that are flags"),
        pytest.param({"a": {"dtype": "U8", "shape": [1.0], "data_offsets": [0, 1]}}, b"a", id="a shape that is not whole"),
        pytest.param({"a": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 4]}}, bytes(4), id="a shape too large"),
        pytest.param({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"ab", id="bytes after the last array"),
        pytest.param({}, b"a", id="bytes without an array"),
    ],
)
def test_what_the_format_does_not_allow_is_an_error(header: object, data: bytes, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is damaged"):
        safetensors.read(write(tmp_path / "m", header, data))


def test_a_name_that_is_twice_in_the_header_is_an_error(tmp_path: Path) -> None:
    entry = '"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}'
    text = f"{{{entry}, {entry}}}".encode()
    (tmp_path / "m").write_bytes(len(text).to_bytes(8, "little") + text + b"a")
    with pytest.raises(WeightsError, match="a name is twice"):
        safetensors.read(str(tmp_path / "m"))


def test_a_header_of_many_megabytes_is_not_parsed(tmp_path: Path) -> None:
    size_bytes = safetensors._HEADER_BYTES_MAX + 1
    (tmp_path / "m").write_bytes(size_bytes.to_bytes(8, "little") + b" " * size_bytes)
    with pytest.raises(WeightsError, match="its header would have"):
        safetensors.read(str(tmp_path / "m"))
