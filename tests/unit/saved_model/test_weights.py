"""Tests of ``saved_model.weights``."""

from __future__ import annotations

from pathlib import Path

import google_crc32c
import pytest

from tests.fakes.checkpoints import encode_message, make_entry, make_index
from tfimm_resolver.saved_model import weights
from tfimm_resolver.saved_model.checkpoint import encode_slice_key
from tfimm_resolver.saved_model.checkpoint_index import read_index
from tfimm_resolver.saved_model.weights import Weights, WeightTensor, describe_weights, hash_zeros

ONES = b"\1" * 8192


def describe(entries: dict[bytes, bytes], folder: Path) -> Weights:
    """Return the weights of an index with these entries."""
    (folder / "index").write_bytes(make_index(entries))
    return describe_weights(read_index(str(folder / "index")))


def test_the_largest_come_first_and_only_numbers_count(tmp_path: Path) -> None:
    entries = {
        b"a": make_entry(1, [2], bytes(8)),
        b"b": make_entry(9, [3, 1], bytes(24)),
        b"text": make_entry(7, [1], bytes(99)),
    }
    found = describe(entries, tmp_path)
    assert found.tensors == (WeightTensor("b", "int64", (3, 1), 24), WeightTensor("a", "float32", (2,), 8))
    assert (found.size_bytes, found.parameters, found.shards, found.duplicate_bytes) == (32, 5, 1, 0)


def test_slices_are_added_up(tmp_path: Path) -> None:
    extents = [((row, 1), (0, 3)) for row in range(2)]
    slices = [encode_message((1, encode_message([(1, start), (2, length)])) for start, length in each) for each in extents]
    entries = {b"a": make_entry(1, [2, 3], b"") + encode_message((7, each) for each in slices)}
    entries |= {encode_slice_key(b"a", each): make_entry(1, [1, 3], bytes(12)) for each in extents}
    assert describe(entries, tmp_path).tensors == (WeightTensor("a", "float32", (2, 3), 24),)


@pytest.mark.parametrize(
    ("entries", "duplicates"),
    [
        ({b"a": make_entry(1, [2048], ONES), b"b": make_entry(1, [2048], ONES), b"c": make_entry(1, [2048], ONES)}, 16384),
        ({b"a": make_entry(1, [2048], ONES), b"b": make_entry(1, [2, 1024], ONES)}, 0),
        ({b"a": make_entry(1, [2048], ONES), b"b": make_entry(3, [2048], ONES)}, 0),
        ({b"a": make_entry(1, [2048], ONES), b"b": make_entry(1, [2048], b"\2" * 8192)}, 0),
        ({b"a": make_entry(1, [2048], bytes(8192)), b"b": make_entry(1, [2048], bytes(8192))}, 0),
        ({b"a": make_entry(1, [2], b"\1" * 8), b"b": make_entry(1, [2], b"\1" * 8)}, 0),
        ({b"a/.OPTIMIZER_SLOT/m": make_entry(1, [2048], ONES), b"b": make_entry(1, [2048], ONES)}, 0),
    ],
    ids=["three", "shape", "type", "content", "zeros", "small", "slot"],
)
def test_equal_tensors_are_counted(entries: dict[bytes, bytes], duplicates: int, tmp_path: Path) -> None:
    assert describe(entries, tmp_path).duplicate_bytes == duplicates


def test_the_largest_groups_of_equal_tensors_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_DUPLICATES_MAX", 1)
    entries = {name.encode(): make_entry(1, [2048], ONES) for name in "ab"}
    entries |= {name.encode(): make_entry(1, [1024], ONES[:4096]) for name in "cd"}
    assert describe(entries, tmp_path).duplicate_bytes == 8192


@pytest.mark.parametrize("size_bytes", [0, 1, 5, 4096, 100_003])
def test_the_checksum_of_zeros_is_computed_without_them(size_bytes: int) -> None:
    assert hash_zeros(size_bytes) == google_crc32c.value(bytes(size_bytes))
