"""Reads a tar archive as a stream, strictly: what cannot be read for certain is refused.

The standard library's tarfile takes a broken header for the end, and does not look at what follows the end.
Formats: POSIX ustar and pax, GNU (long names, base-256 numbers) and v7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tfimm_resolver.errors import ArchiveError

BLOCK_BYTES = 512
_ZEROS = bytes(BLOCK_BYTES)
_HEADER_BYTES_MAX = 1 << 20
_FILES, _DIRECTORY, _PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"0\x007", b"5", b"x", b"g", b"L", b"K"
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"S": "a sparse file",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file or a directory; ``pieces`` gives the file's bytes, once, before the next member is asked for."""

    name: str
    is_directory: bool
    size_bytes: int = 0
    pieces: Iterator[memoryview] = field(default_factory=lambda: iter(()))


def is_header(block: bytes) -> bool:
    """Whether a tar archive may begin like this."""
    return len(block) == BLOCK_BYTES and (block == _ZEROS or _has_checksum(block))


def members(pieces: Iterable[bytes | memoryview]) -> Iterator[Member]:
    """Every member, up to the end of the archive and of the stream.

    Raises:
        ArchiveError: on a member that is neither a regular file nor a directory, a header that is damaged,
            an end that is missing, and anything but zeros after it.
    """
    reader = _Reader(pieces)
    name, size_bytes = None, None  # what an extension header says of the member that follows
    while (block := reader.exactly(BLOCK_BYTES)) != _ZEROS:
        header = _Header.parse(block)
        if header.kind in (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK):
            text = reader.padded(header.size_bytes)
            if header.kind == _LONG_NAME:
                name = _text(text)
            elif header.kind != _LONG_LINK:
                said = _pax(text)
                if header.kind == _PAX:
                    name, size_bytes = said.get("path", name), said.get("size", size_bytes)
            continue
        if size_bytes is not None:
            header = _Header(header.name, header.kind, _decimal(size_bytes))
        yield from _member(reader, header, name or header.name)
        name = size_bytes = None
    if name is not None or size_bytes is not None:
        raise ArchiveError("it ends after an extension header")
    reader.only_zeros()


def _member(reader: _Reader, header: _Header, name: str) -> Iterator[Member]:
    if header.kind == _DIRECTORY or (header.kind == b"\0" and name.endswith("/")):
        yield Member(name, is_directory=True)
    elif header.kind in _FILES:
        pieces = reader.through(header.size_bytes)
        yield Member(name, False, header.size_bytes, pieces)
        for _ in pieces:
            pass
        reader.exactly(-header.size_bytes % BLOCK_BYTES)
    else:
        kind = _REFUSED.get(header.kind, f"of the unknown type {header.kind!r}")
        raise ArchiveError(f"member {name!r} is {kind}; only files and directories are unpacked")


@dataclass(frozen=True, slots=True)
class _Header:
    name: str
    kind: bytes
    size_bytes: int

    @classmethod
    def parse(cls, block: bytes) -> _Header:
        """Read a block of 512 bytes."""
        if not _has_checksum(block):
            raise ArchiveError("a header is damaged: its checksum does not match")
        name = _text(block[:100])
        if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
            name = f"{prefix}/{name}"
        kind = block[156:157]
        size_bytes = 0 if kind == _DIRECTORY else _number(block[124:136])
        if size_bytes < 0:
            raise ArchiveError(f"member {name!r} has a negative size")
        return cls(name, kind, size_bytes)


class _Reader:
    """Exact amounts from a stream of pieces of any length."""

    def __init__(self, pieces: Iterable[bytes | memoryview]) -> None:
        self._pieces = iter(pieces)
        self._left = memoryview(b"")

    def _refill(self) -> bool:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._left = memoryview(piece)
        return True

    def through(self, size_bytes: int) -> Iterator[memoryview]:
        """So many bytes, in pieces."""
        while size_bytes:
            if not self._refill():
                raise ArchiveError("it is cut short")
            piece = self._left[:size_bytes]
            self._left = self._left[len(piece) :]
            size_bytes -= len(piece)
            yield piece

    def exactly(self, size_bytes: int) -> bytes:
        return b"".join(self.through(size_bytes))

    def padded(self, size_bytes: int) -> bytes:
        if size_bytes > _HEADER_BYTES_MAX:
            raise ArchiveError(f"an extension header has {size_bytes} bytes")
        return self.exactly(size_bytes + -size_bytes % BLOCK_BYTES)[:size_bytes]

    def only_zeros(self) -> None:
        """The rest of the stream: a second block of zeros at least, and no other byte (POSIX: pax interchange format)."""
        if self.exactly(BLOCK_BYTES) != _ZEROS:
            raise ArchiveError("something follows its end")
        while self._refill():
            if any(self._left):
                raise ArchiveError("something follows its end")
            self._left = memoryview(b"")


def _has_checksum(block: bytes) -> bool:
    """The sum of all bytes, the checksum's own taken as blanks; some old programs summed signed bytes."""
    try:
        said = _number(block[148:156])
    except ArchiveError:
        return False
    rest = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(rest)
    return said in (unsigned, unsigned - 256 * sum(byte > 127 for byte in rest))


def _number(digits: bytes) -> int:
    if digits[0] in (0x80, 0xFF):  # GNU: base 256, two's complement
        return int.from_bytes(digits[1:], "big") - (256 ** (len(digits) - 1) if digits[0] == 0xFF else 0)
    text = digits.split(b"\0")[0].strip()
    if text.strip(b"01234567"):
        raise ArchiveError(f"a header is damaged: {digits!r} is no octal number")
    return int(text or b"0", 8)


def _pax(text: bytes) -> dict[str, str]:
    """Records of the form ``<length> <keyword>=<value>`` and a newline, the length counting all of it."""
    said: dict[str, str] = {}
    start = 0
    while start < len(text):
        blank = text.find(b" ", start, start + 20)
        length = _decimal(text[start : max(blank, start)].decode("ascii", "replace"))
        record = text[start : start + length]
        keyword, mark, value = record[blank + 1 - start : -1].partition(b"=")
        if not mark or len(record) != length or not record.endswith(b"\n"):
            raise ArchiveError("a pax header is damaged")
        if keyword.startswith(b"GNU.sparse"):
            raise ArchiveError("it holds a sparse file; only files and directories are unpacked")
        said[keyword.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        start += length
    return said


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ArchiveError(f"a header is damaged: {text!r:.40} is no length")
    return int(text)


def _text(field_: bytes) -> str:
    return field_.split(b"\0")[0].decode("utf-8", "surrogateescape")
