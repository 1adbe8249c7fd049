"""Tests of ``saved_model.checkpoint_index``: what the index says is read or refused, and a damaged one does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import checkpoints
from tests.fakes.checkpoints import encode_message, make_block, make_entry, make_header, make_index, make_table
from tfimm_resolver.errors import WeightsError
from tfimm_resolver.saved_model import checkpoint_index
from tfimm_resolver.saved_model.checkpoint_index import TensorEntry, read_index

ENTRY = make_entry(1, [2], bytes(8))
GOOD = make_index({b"a": ENTRY})


def read(tmp_path: Path, data: bytes) -> checkpoint_index.CheckpointIndex:
    """Read an index of these bytes."""
    (tmp_path / "m.index").write_bytes(data)
    return read_index(str(tmp_path / "m.index"))


def test_names_shapes_and_places_are_read_over_several_blocks(tmp_path: Path) -> None:
    second = make_entry(9, [], bytes(8), offset=8, shard=1)
    first = make_block([(0, b"", make_header(2)), (0, b"abc", ENTRY)])
    index = read(tmp_path, make_table([first, make_block([(0, b"abd", second), (2, b"e", second)])]))
    assert index.shards == 2 and [*index.tensors] == [b"abc", b"abd", b"abe"]
    crc32c = checkpoints.mask_crc32c(bytes(8))
    assert index.tensors[b"abc"] == TensorEntry(1, (2,), 0, 0, 8, crc32c)
    assert index.tensors[b"abe"] == TensorEntry(9, (), 1, 8, 8, crc32c)


def replace_entry(entry: bytes) -> bytes:
    """Return an index whose only tensor has this entry."""
    return make_index({b"a": entry})


DAMAGED = {
    "nothing": (b"", "its end is missing"),
    "a cut": (GOOD[:-1], "its end is missing"),
    "a changed byte": (GOOD[:20] + bytes([GOOD[20] ^ 1]) + GOOD[21:], "the checksum of the block at 0 is wrong"),
    "no header": (make_table([make_block([(0, b"a", ENTRY)])]), "it has no header"),
    "an empty table": (make_table([]), "it has no header"),
    "no data files": (make_index({}, header=make_header(0)), "it would have 0 data files"),
    "a million data files": (make_index({}, header=make_header(10**6)), "data files"),
    "another order of bytes": (make_index({}, header=make_header(1, 1)), "big-endian"),
    "a compressed block": (make_table([make_block([(0, b"", make_header())], kind=1)]), "it is compressed"),
    "names out of order": (make_table([make_block([(0, b"b", ENTRY), (0, b"a", ENTRY)])]), "not in order"),
    "a block twice": (make_table([make_block([(0, b"", make_header())])] * 2), "not in order"),
    "a name that shares too much": (make_table([make_block([(5, b"a", ENTRY)])]), "outside of its block"),
    "a file number beyond": (replace_entry(make_entry(1, [2], bytes(8), shard=1)), "in the data file 1 of 1"),
    "a negative dimension": (replace_entry(make_entry(1, [-2], bytes(8))), "a shape that is not possible"),
    "300 dimensions": (replace_entry(make_entry(1, [1] * 300, bytes(4))), "a shape that is not possible"),
    "an unknown shape": (replace_entry(encode_message([(2, encode_message([(3, 1)]))])), "shape of a tensor is not known"),
    "an entry that is not a message": (replace_entry(b"\xff" * 9), "no number of at most 64 bits"),
    "a shape that is not a message": (replace_entry(encode_message([(2, b"\xff")])), "no number"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_index_is_refused(kind: str, tmp_path: Path) -> None:
    data, message = DAMAGED[kind]
    with pytest.raises(
        WeightsError, match=rf"m\.index is not the index of a TensorFlow checkpoint, or is damaged: .*{message}"
    ):
        read(tmp_path, data)


def test_every_cut_and_every_changed_byte_is_refused(tmp_path: Path) -> None:
    for data in (*(GOOD[:size] for size in range(len(GOOD))), *(flip(GOOD, position) for position in range(len(GOOD)))):
        try:
            assert read(tmp_path, data) == read(tmp_path, GOOD), "only padding may change without notice"
        except WeightsError:
            continue


def flip(data: bytes, position: int) -> bytes:
    """Change one bit."""
    return data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :]


def test_names_that_share_a_long_beginning_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_index, "KEYS_BYTES_MAX", 10_000)
    entries = [(0, b"", make_header()), (0, b"a" * 1000, ENTRY), *((1000 + number, b"a", ENTRY) for number in range(20))]
    with pytest.raises(WeightsError, match="is damaged"):
        read(tmp_path, make_table([make_block(entries)]))


def test_an_index_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "m.index", "wb") as file:
        file.truncate(checkpoint_index.INDEX_BYTES_MAX + 1)
    with pytest.raises(OSError, match="it has over"):
        read_index(str(tmp_path / "m.index"))
