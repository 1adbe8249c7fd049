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
    view = memoryview(data)
    for number, kind, start, stop in iterate_spans(data, 0, len(data)):
        if kind == BYTES:
            yield number, kind, view[start:stop]
        else:
            yield number, kind, read_number(data, kind, start, stop)


def read_number(data: bytes | memoryview, kind: int, start: int, stop: int) -> int:
    """Return the unsigned value of a field that is not bytes, by its wire type and where it begins and ends."""
    return read_varint(data, start)[0] if kind == VARINT else int.from_bytes(data[start:stop], "little")


def iterate_spans(data: bytes | memoryview, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield each field of the message between two positions: its number, its wire type, and where its value begins and ends.

    ``data`` may end before the message does, as long as no further field is asked for after the last one that begins in it.

    Raises:
        WireError: if the bytes are not a message.
    """
    position = start
    while position < stop:
        tag = data[position]
        if tag & 0x87 == BYTES and tag > 7 and position + 1 < stop and (size_bytes := data[position + 1]) < 0x80:
            begin, end, number, kind = position + 2, position + 2 + size_bytes, tag >> 3, BYTES  # most fields
        else:
            number, kind, begin, end = _read_header(data, position, stop)
        if end > stop:
            raise WireError(f"field {number} has {end - begin} bytes, but {stop - begin} are left")
        yield number, kind, begin, end
        position = end


def _read_header(data: bytes | memoryview, position: int, stop: int) -> tuple[int, int, int, int]:
    """Return the number and the wire type of a field, and where its value begins and ends."""
    tag, position = read_varint_before(data, position, stop)
    number, kind = tag >> 3, tag & 7
    if not 0 < number < 1 << 29:
        raise WireError(f"no field has the number {number}")
    if kind == VARINT:
        return number, kind, position, read_varint_before(data, position, stop)[1]
    if kind == BYTES:
        size_bytes, position = read_varint_before(data, position, stop)
        return number, kind, position, position + size_bytes
    if kind in _FIXED_BYTES:
        return number, kind, position, position + _FIXED_BYTES[kind]
    raise WireError(f"field {number} has the wire type {kind}")


def read_varint_before(data: bytes | memoryview, position: int, stop: int, base: int = 0) -> tuple[int, int]:
    """Return the number at a position and the position after it, which is ``stop`` at most; counted from ``base``.

    Raises:
        WireError: if there is none.
    """
    try:
        value, size_bytes = read_varint(data[position : min(stop, position + _VARINT_BYTES_MAX)], 0)
    except WireError:
        raise WireError(f"no number of at most 64 bits at byte {position + base}") from None
    return value, position + size_bytes + base
