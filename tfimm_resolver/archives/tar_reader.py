"""Reads a tar archive as a stream, strictly: whatever is ambiguous is an error.

The standard library's tarfile takes a broken header for the end of the archive, and ignores what follows the end.
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
_UNSUPPORTED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"S": "a sparse file",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file or a directory; ``chunks`` yields the file's bytes, once, before the next member is read."""

    name: str
    is_directory: bool
    size_bytes: int = 0
    chunks: Iterator[memoryview] = field(default_factory=lambda: iter(()))


def is_header(block: bytes) -> bool:
    """Return whether a tar archive can begin with this block."""
    return len(block) == BLOCK_BYTES and (block == _ZEROS or _has_valid_checksum(block))


def read_members(chunks: Iterable[bytes | memoryview]) -> Iterator[Member]:
    """Yield every member, and check that the stream ends where the archive does.

    Raises:
        ArchiveError: if a member is neither a regular file nor a directory, a header is damaged, the end is missing, or
            anything but zeros follows it.
    """
    reader = _Reader(chunks)
    name, size_bytes = None, None  # from an extension header, for the member that follows
    while (block := reader.read_exact(BLOCK_BYTES)) != _ZEROS:
        header = _Header.parse(block)
        if header.kind in (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK):
            text = reader.read_padded(header.size_bytes)
            if header.kind == _LONG_NAME:
                name = _decode_text(text)
            elif header.kind != _LONG_LINK:
                records = _parse_pax_records(text)
                if header.kind == _PAX:
                    name, size_bytes = records.get("path", name), records.get("size", size_bytes)
            continue
        if size_bytes is not None:
            header = _Header(header.name, header.kind, _parse_decimal(size_bytes))
        yield from _read_member(reader, header, name or header.name)
        name = size_bytes = None
    if name is not None or size_bytes is not None:
        raise ArchiveError("it ends after an extension header")
    reader.expect_zeros()


def _read_member(reader: _Reader, header: _Header, name: str) -> Iterator[Member]:
    if header.kind == _DIRECTORY or (header.kind == b"\0" and name.endswith("/")):
        yield Member(name, is_directory=True)
    elif header.kind in _FILES:
        chunks = reader.iter_bytes(header.size_bytes)
        yield Member(name, False, header.size_bytes, chunks)
        for _ in chunks:
            pass
        reader.read_exact(-header.size_bytes % BLOCK_BYTES)
    else:
        kind = _UNSUPPORTED.get(header.kind, f"of the unknown type {header.kind!r}")
        raise ArchiveError(f"member {name!r} is {kind}; only regular files and directories are unpacked")


@dataclass(frozen=True, slots=True)
class _Header:
    name: str
    kind: bytes
    size_bytes: int

    @classmethod
    def parse(cls, block: bytes) -> _Header:
        """Parse a block of 512 bytes."""
        if not _has_valid_checksum(block):
            raise ArchiveError("a header is damaged: its checksum does not match")
        name = _decode_text(block[:100])
        if block[257:263] == b"ustar\0" and (prefix := _decode_text(block[345:500])):
            name = f"{prefix}/{name}"
        kind = block[156:157]
        size_bytes = 0 if kind == _DIRECTORY else _parse_number(block[124:136])
        if size_bytes < 0:
            raise ArchiveError(f"member {name!r} has a negative size")
        return cls(name, kind, size_bytes)


class _Reader:
    """Reads exact amounts from chunks of any length."""

    def __init__(self, chunks: Iterable[bytes | memoryview]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def _refill(self) -> bool:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._rest = memoryview(chunk)
        return True

    def iter_bytes(self, size_bytes: int) -> Iterator[memoryview]:
        """Yield exactly ``size_bytes``, in chunks. Raises ArchiveError at the end of the stream."""
        while size_bytes:
            if not self._refill():
                raise ArchiveError("it is truncated")
            chunk = self._rest[:size_bytes]
            self._rest = self._rest[len(chunk) :]
            size_bytes -= len(chunk)
            yield chunk

    def read_exact(self, size_bytes: int) -> bytes:
        return b"".join(self.iter_bytes(size_bytes))

    def read_padded(self, size_bytes: int) -> bytes:
        """Read the body of an extension header, and the padding up to the next block."""
        if size_bytes > _HEADER_BYTES_MAX:
            raise ArchiveError(f"an extension header of {size_bytes} bytes is too large")
        return self.read_exact(size_bytes + -size_bytes % BLOCK_BYTES)[:size_bytes]

    def expect_zeros(self) -> None:
        """Read the rest of the stream: at least a second block of zeros, and nothing but zeros (POSIX: ustar format)."""
        if self.read_exact(BLOCK_BYTES) != _ZEROS:
            raise ArchiveError("unexpected data follows its end")
        while self._refill():
            if any(self._rest):
                raise ArchiveError("unexpected data follows its end")
            self._rest = memoryview(b"")


def _has_valid_checksum(block: bytes) -> bool:
    """Return whether the checksum is the sum of all bytes, its own counted as spaces; some old programs sum signed bytes."""
    try:
        checksum = _parse_number(block[148:156])
    except ArchiveError:
        return False
    rest = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(rest)
    return checksum == unsigned or checksum == unsigned - 256 * sum(byte > 127 for byte in rest)


def _parse_number(digits: bytes) -> int:
    if digits[0] in (0x80, 0xFF):  # GNU: base 256, two's complement
        return int.from_bytes(digits[1:], "big") - (256 ** (len(digits) - 1) if digits[0] == 0xFF else 0)
    text = digits.split(b"\0")[0].strip()
    if text.strip(b"01234567"):
        raise ArchiveError(f"a header is damaged: {digits!r} is not an octal number")
    return int(text or b"0", 8)


def _parse_pax_records(text: bytes) -> dict[str, str]:
    r"""Parse records of the form ``<length> <keyword>=<value>\n``, where the length is that of the whole record."""
    records: dict[str, str] = {}
    start = 0
    while start < len(text):
        space = text.find(b" ", start, start + 20)
        length = _parse_decimal(text[start : max(space, start)].decode("ascii", "replace"))
        record = text[start : start + length]
        keyword, separator, value = record[space + 1 - start : -1].partition(b"=")
        if not separator or len(record) != length or not record.endswith(b"\n"):
            raise ArchiveError("a pax header is damaged")
        if keyword.startswith(b"GNU.sparse"):
            raise ArchiveError("it contains a sparse file; only regular files and directories are unpacked")
        records[keyword.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        start += length
    return records


def _parse_decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ArchiveError(f"a header is damaged: {text!r:.40} is not a valid length")
    return int(text)


def _decode_text(field_: bytes) -> str:
    return field_.split(b"\0")[0].decode("utf-8", "surrogateescape")
