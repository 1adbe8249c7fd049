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
    if position < len(data) and (byte := data[position]) < 0x80:  # most numbers
        return byte, position + 1
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
        tag, begin, end = _read_header(data, position, stop)
        yield tag >> 3, tag & 7, begin, end
        position = end


def find_last(data: bytes | memoryview, start: int, stop: int, number: int) -> tuple[int, int] | None:
    """Return where the last value of a field of type bytes is, in the message between two positions; None if there is none.

    Raises:
        WireError: if the bytes are not a message.
    """
    found, position, searched_tag, last = None, start, number << 3 | BYTES, stop - 2
    while position < stop:
        tag = data[position]
        if tag & 0x87 == BYTES and tag > 7 and position < last and (size_bytes := data[position + 1]) < 0x80:
            begin, position = position + 2, position + 2 + size_bytes  # as _read_header, without its call
            if position > stop:
                _read_any_header(data, begin - 2, stop)
        else:
            tag, begin, position = _read_header(data, position, stop)
        if tag == searched_tag:
            found = begin, position
    return found


def _read_header(data: bytes | memoryview, position: int, stop: int) -> tuple[int, int, int]:
    """Return the tag of a field, and where its value begins and ends."""
    if position + 2 < stop and (tag := data[position]) & 0x87 == BYTES and tag > 7:  # most fields: a tag of one byte,
        begin, size_bytes = position + 2, data[position + 1]
        if size_bytes > 0x7F:  # and a size of one or two
            size_bytes += data[begin] - 1 << 7 if data[begin] < 0x80 else stop
            begin += 1
        if size_bytes <= stop - begin:
            return tag, begin, begin + size_bytes
    return _read_any_header(data, position, stop)


def _read_any_header(data: bytes | memoryview, position: int, stop: int) -> tuple[int, int, int]:
    tag, begin = read_varint_before(data, position, stop)
    number, kind = tag >> 3, tag & 7
    if not 0 < number < 1 << 29:
        raise WireError(f"no field has the number {number}")
    if kind == VARINT:
        return tag, begin, read_varint_before(data, begin, stop)[1]
    if kind == BYTES:
        size_bytes, begin = read_varint_before(data, begin, stop)
    elif kind in _FIXED_BYTES:
        size_bytes = _FIXED_BYTES[kind]
    else:
        raise WireError(f"field {number} has the wire type {kind}")
    if size_bytes > stop - begin:
        raise WireError(f"field {number} has {size_bytes} bytes, but {stop - begin} are left")
    return tag, begin, begin + size_bytes


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
