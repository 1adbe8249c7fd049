"""Reads protocol buffers without their schema, as protobuf.dev/programming-guides/encoding describes them, within limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Read = Callable[[int, int], "bytes | memoryview"]

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
    view = memoryview(data)
    for number, kind, start, stop in iterate_spans(lambda at, size_bytes: view[at : at + size_bytes], 0, len(view)):
        content = view[start:stop]
        if kind == VARINT:
            yield number, kind, read_varint(content, 0)[0]
        else:
            yield number, kind, content if kind == BYTES else int.from_bytes(content, "little")


def iterate_spans(read: Read, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield each field of the message between two positions: its number, its wire type, and where its value begins and ends.

    ``read`` returns the bytes at a position, at most as many as asked for. Values are not read, however large they are.

    Raises:
        WireError: if the bytes are not a message.
    """
    position = start
    while position < stop:
        tag, position = _read_varint_at(read, position, stop)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise WireError(f"no field has the number {number}")
        if kind == VARINT:
            size_bytes = _read_varint_at(read, position, stop)[1] - position
        elif kind == BYTES:
            size_bytes, position = _read_varint_at(read, position, stop)
        elif kind in _FIXED_BYTES:
            size_bytes = _FIXED_BYTES[kind]
        else:
            raise WireError(f"field {number} has the wire type {kind}")
        if size_bytes > stop - position:
            raise WireError(f"field {number} has {size_bytes} bytes, but {stop - position} are left")
        yield number, kind, position, position + size_bytes
        position += size_bytes


def _read_varint_at(read: Read, position: int, stop: int) -> tuple[int, int]:
    try:
        value, size_bytes = read_varint(read(position, min(_VARINT_BYTES_MAX, stop - position)), 0)
    except WireError:
        raise WireError(f"no number of at most 64 bits at byte {position}") from None
    return value, position + size_bytes
