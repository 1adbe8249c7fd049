"""Tests of ``saved_model.messages``: files of any size are read in little memory, and the work is limited."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from tests.fakes.checkpoints import encode_message, encode_varint
from tfimm_resolver.saved_model import messages, wire
from tfimm_resolver.saved_model.messages import MessageSource, open_source
from tfimm_resolver.saved_model.wire import WireError


def flatten(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return the fields of a message in memory, by the reader of ``wire``."""
    return [(number, kind, data[start:stop]) for number, kind, start, stop in wire.iterate_spans(data, 0, len(data))]


@pytest.mark.parametrize("block_bytes", [20, 33, 4096])
@pytest.mark.parametrize("small_bytes", [0, 64, 10_000])
def test_a_file_has_the_same_fields_as_memory(
    block_bytes: int, small_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(messages, "_SMALL_BYTES", small_bytes)
    data = encode_message([(1, 7), (2, b"x" * 150), (3, b""), (1 << 20, b"y" * 19), (4, -1), (2, b"end"), (5, 0)])
    (tmp_path / "m").write_bytes(data)
    with open_source(str(tmp_path / "m")) as source:
        found = [(number, kind, source.read((start, stop))) for number, kind, start, stop in source.iterate(source.all)]
    assert found == flatten(data)


def test_large_values_are_not_read(tmp_path: Path) -> None:
    head = encode_message([(1, b"first")]) + b"\x12" + encode_varint(100 << 20)
    with open(tmp_path / "m", "wb") as file:
        file.write(head)
        file.truncate(len(head) + (100 << 20))
        file.seek(0, 2)
        file.write(encode_message([(3, b"last")]))
    tracemalloc.start()
    with open_source(str(tmp_path / "m")) as source:
        assert source.find_text(source.all, 1) == "first" and source.find_text(source.all, 3) == "last"
        (large,) = source.iterate_messages(source.all, 2)
        with pytest.raises(WireError, match="a text of 104857600 bytes at byte 12 is too long"):
            source.get_text(large)
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


def test_the_work_is_limited() -> None:
    data = b"\x08\x01" * 500
    assert len([*MessageSource(None, data, 1000).iterate(((0, 1000),))]) == 500
    with pytest.raises(WireError, match="too many fields"):
        [*MessageSource(None, data, 999).iterate(((0, 1000),))]
    data *= 10
    assert len([*MessageSource(None, data, 10_000).iterate(((0, 10_000),))]) == 5000
    with pytest.raises(WireError, match="too many fields"):
        [*MessageSource(None, data, 4000).iterate(((0, 10_000),))]


def test_a_file_that_becomes_shorter_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(bytes(10_000))
    with open_source(str(tmp_path / "m")) as source:
        os.truncate(tmp_path / "m", 5)
        with pytest.raises(WireError, match="it became shorter than 10 bytes while it was read"):
            source.read((0, 10))


def test_memory_ends_where_it_ends() -> None:
    with pytest.raises(WireError, match="byte 5 is after its end"):
        MessageSource(None, b"four").read((0, 5))


def test_messages_at_a_path_of_fields_are_found() -> None:
    data = encode_message([(1, encode_message([(2, b"a"), (3, b"no")])), (1, 5), (1, encode_message([(2, b"b")]))])
    source = MessageSource(None, data)
    assert [source.get_text(span) for span in source.iterate_messages(source.all, 1, 2)] == ["a", "b"]
    assert source.find_text(source.all, 1, 2) == "b" and source.find_text(source.all, 9) == ""
