"""Tests of ``saved_model.wire``: reads what protocol buffers encode, and nothing beyond the end."""

from __future__ import annotations

import pytest

from tests.fakes.checkpoints import encode_message, encode_varint
from tfimm_resolver.saved_model import wire


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**32, 2**63 - 1, -1, -(2**63)])
def test_numbers_are_read_as_they_were_written(number: int) -> None:
    data = encode_varint(number)
    value, position = wire.read_varint(b"x" + data + b"\x80", 1)
    assert (wire.to_signed(value), position) == (number, 1 + len(data))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 10, b"\xff" * 9 + b"\x02", b"\x80" * 11 + b"\0"])
def test_a_number_that_does_not_end_or_is_too_large_is_an_error(data: bytes) -> None:
    with pytest.raises(wire.WireError, match="no number of at most 64 bits at byte 0"):
        wire.read_varint(data, 0)


def test_fields_of_each_type_are_read_in_order() -> None:
    data = encode_message([(1, 7), (2, b"text"), (1, 8)]) + b"\x1d\1\0\0\0" + b"\x21\2" + bytes(7)
    found = [
        (number, kind, bytes(value) if kind == wire.BYTES else value) for number, kind, value in wire.iterate_fields(data)
    ]
    assert found == [(1, 0, 7), (2, 2, b"text"), (1, 0, 8), (3, 5, 1), (4, 1, 2)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0b", "field 1 has the wire type 3"),
        (b"\x0f", "field 1 has the wire type 7"),
        (b"\x00\x01", "no field has the number 0"),
        (b"\x0a\x05abc", "field 1 has 5 bytes, but 3 are left"),
        (b"\x0a" + b"\xff" * 9 + b"\1", "but 0 are left"),
        (b"\x0d\0\0\0", "field 1 has 4 bytes, but 3 are left"),
        (b"\x08", "no number"),
    ],
)
def test_what_is_not_a_message_is_an_error(data: bytes, message: str) -> None:
    with pytest.raises(wire.WireError, match=message):
        [*wire.iterate_fields(data)]


def test_the_last_value_of_a_field_is_found() -> None:
    data = encode_message([(1, b"one"), (2, b"x" * 300), (1, b"two"), (1, 5), (3, b"")])
    found = wire.find_last(data, 0, len(data), 1)
    assert found is not None and data[found[0] : found[1]] == b"two" and wire.find_last(data, 0, len(data), 9) is None


@pytest.mark.parametrize("data", [b"\x0a\x05abc", b"\x0a\xff\x01abc", b"\x0b", b"\x0a", b"\x12\x01"], ids=repr)
def test_the_last_value_is_not_looked_for_in_what_is_not_a_message(data: bytes) -> None:
    for end in (b"", bytes(500)):  # which do not belong to it
        with pytest.raises(wire.WireError):
            wire.find_last(data + end, 0, len(data), 1)
