"""Reads protocol buffers without their schema, as protobuf.dev/programming-guides/encoding describes them, within limits."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_VARINT_BYTES_MAX = 10
_FIXED_BYTES = {FIXED64: 8, FIXED32: 4}


class WireError(ValueError):
    """The bytes are not a protocol buffer."""


def read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """Return the unsigned number of at most 64 bits at a position, and the position after it.

    Raises:
        WireError: if the data ends before it, or it is longer.
    """
    value = 0
    for index, byte in enumerate(data[position : position + _VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if value >> 64:
                break
            return value, position + index + 1
    raise WireError(f"no number of at most 64 bits at byte {position}")


def to_signed(value: int) -> int:
    """Return the int64 that a varint stands for."""
    return value - (1 << 64) if value >> 63 else value


def iterate_fields(data: bytes | memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield each field of a message in order: its number, its wire type, and its value, a number or the bytes.

    Raises:
        WireError: if the bytes are not a message.
    """
    view, position = memoryview(data), 0
    while position < len(view):
        tag, position = read_varint(view, position)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise WireError(f"no field has the number {number}")
        if kind == VARINT:
            value, position = read_varint(view, position)
            yield number, kind, value
            continue
        if kind == BYTES:
            size_bytes, position = read_varint(view, position)
        elif kind in _FIXED_BYTES:
            size_bytes = _FIXED_BYTES[kind]
        else:
            raise WireError(f"field {number} has the wire type {kind}")
        content = view[position : position + size_bytes]
        if len(content) < size_bytes:
            raise WireError(f"field {number} has {size_bytes} bytes, but {len(content)} are left")
        position += size_bytes
        yield number, kind, content if kind == BYTES else int.from_bytes(content, "little")
