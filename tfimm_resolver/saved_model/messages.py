"""Reads messages of protocol buffers in a file, in little memory: what a large value contains is not read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from tfimm_resolver._util import fs
from tfimm_resolver._util.cancellation import get_current_token
from tfimm_resolver.saved_model import wire
from tfimm_resolver.saved_model.wire import BYTES, WireError

PARSED_BYTES_MAX = 512 << 20
"""Limit on the bytes that are parsed, large values not among them; a hostile file of 2 GB has 10^9 fields."""

TEXT_BYTES_MAX = 1 << 20
"""Limit on a name, of which a graph has many, and on other texts."""

_BLOCK_BYTES = 256 << 10
_BYTES_BETWEEN = 64 << 10
"""How many bytes are parsed before the next look at the cancellation token."""

_SMALL_BYTES = 4 << 10
"""Messages up to this size are read at once, longer ones field by field."""

_HEADER_BYTES = 20
"""The longest header of a field is shorter: two varints."""

Span = tuple[int, int]
"""Where a value begins and ends in a source."""

Spans = tuple[Span, ...]
"""The parts of one message: protocol buffers merge the occurrences of a field that is not repeated."""


class MessageSource:
    """A file, or bytes, with a message of a protocol buffer. Its methods take positions in it, and raise WireError.

    They raise CancelledError if the work has to stop.
    """

    def __init__(self, file: BinaryIO | None, data: bytes = b"", parsed_bytes_max: int = PARSED_BYTES_MAX) -> None:
        self._file, self._block, self._block_start, self._left_bytes = file, data, 0, parsed_bytes_max
        self._next_look = max(parsed_bytes_max - _BYTES_BETWEEN, 0)
        self.size_bytes = file.seek(0, 2) if file else len(data)

    @property
    def all(self) -> Spans:
        """The outermost message."""
        return ((0, self.size_bytes),)

    def iterate(self, spans: Spans) -> Iterator[tuple[int, int, int, int]]:
        """Yield each field of a message: its number, its wire type, and where its value begins and ends."""
        for start, stop in spans:
            base, fields = self.open_message(start, stop)
            if base == 0:
                yield from fields
            else:
                for number, kind, begin, end in fields:
                    yield number, kind, begin + base, end + base

    def iterate_messages(self, spans: Spans, *path: int) -> Iterator[Span]:
        """Yield where the values of a field of type bytes are; a path of field numbers leads to it, through all messages."""
        for number, kind, begin, end in self.iterate(spans):
            if number == path[0] and kind == BYTES:
                if len(path) == 1:
                    yield begin, end
                else:
                    yield from self.iterate_messages(((begin, end),), *path[1:])

    def open_message(self, start: int, stop: int) -> tuple[int, Iterator[tuple[int, int, int, int]]]:
        """Return the fields of a message as ``iterate`` does, but with positions that are relative to the returned one.

        This saves an addition for each field, of which a graph has a million.
        """
        if stop - start > _SMALL_BYTES:
            return 0, self._iterate_large(start, stop)
        self._count_parsed(stop - start)
        data, base = self._load(start, stop - start)
        return base, wire.iterate_spans(data, start - base, stop - base)

    def read(self, span: Span, max_bytes: int = TEXT_BYTES_MAX) -> bytes:
        """Return the bytes of a value."""
        start, stop = span
        if stop - start > max_bytes:
            raise WireError(f"a text of {stop - start} bytes at byte {start} is too long")
        data, base = self._load(start, stop - start)
        return data[start - base : stop - base]

    def get_text(self, span: Span | None) -> str:
        """Return the text of a value, with backslashes for bytes that are not text; empty without a value."""
        return "" if span is None else self.read(span).decode("utf-8", "backslashreplace")

    def find_last(self, start: int, stop: int, number: int) -> Span | None:
        """Return where the last value of a field of type bytes is in a message; None if there is none."""
        if stop - start > _SMALL_BYTES:
            return next(iter([*self.iterate_messages(((start, stop),), number)][-1:]), None)
        self._count_parsed(stop - start)
        data, base = self._load(start, stop - start)
        found = wire.find_last(data, start - base, stop - base, number)
        return None if found is None else (found[0] + base, found[1] + base)

    def find_text(self, spans: Spans, *path: int) -> str:
        """Return the last text that a path of field numbers leads to, which is the one that counts; empty if there is none."""
        found = None
        for found in self.iterate_messages(spans, *path):  # noqa: B007
            pass
        return self.get_text(found)

    def read_number(self, kind: int, start: int, stop: int) -> int:
        """Return the unsigned number that is the value of a field."""
        data, base = self._load(start, stop - start)
        return wire.read_number(data, kind, start - base, stop - base)

    def read_varint(self, position: int, stop: int) -> tuple[int, int]:
        """Return the number at a position before ``stop``, and the position after it."""
        data, base = self._load(position, min(_HEADER_BYTES, stop - position))
        self._count_parsed(1)
        return wire.read_varint_before(data, position - base, stop - base, base)

    def _iterate_large(self, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
        position = start
        while position < stop:
            data, base = self._load(position, min(_HEADER_BYTES, stop - position))
            last = base + len(data) - _HEADER_BYTES
            for number, kind, begin, end in wire.iterate_spans(data, position - base, stop - base):
                self._count_parsed(begin + base - position)
                yield number, kind, begin + base, end + base
                position = end + base
                if position > last:
                    break

    def _load(self, start: int, size_bytes: int) -> tuple[bytes, int]:
        """Return bytes that contain those at a position, and where they begin."""
        block, block_start = self._block, self._block_start
        if not block_start <= start <= start + size_bytes <= block_start + len(block):
            if self._file is None:
                raise WireError(f"byte {start + size_bytes} is after its end")
            self._file.seek(start)
            block, block_start = self._file.read(max(size_bytes, _BLOCK_BYTES)), start
            if len(block) < size_bytes:
                raise WireError(f"it became shorter than {start + size_bytes} bytes while it was read")
            self._block, self._block_start = block, block_start
        return block, block_start

    def _count_parsed(self, size_bytes: int) -> None:
        self._left_bytes -= size_bytes
        if self._left_bytes < self._next_look:
            if self._left_bytes < 0:
                raise WireError("it has too many fields")
            get_current_token().raise_if_cancelled()
            self._next_look = max(self._left_bytes - _BYTES_BETWEEN, 0)


@contextlib.contextmanager
def open_source(path: str) -> Iterator[MessageSource]:
    """Open a regular file, also by a link.

    Raises:
        OSError: if it cannot be read.
    """
    with open(path, "rb", buffering=0, opener=fs.open_regular_target) as file:
        yield MessageSource(file)
