"""Parses the headers of a tar archive: one block, the records of a pax header, and their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tfimm_resolver.archives.member_policy import quote_name
from tfimm_resolver.errors import ArchiveError

BLOCK_BYTES = 512
DIRECTORY, GNU_DIRECTORY, HARD_LINK, SYMBOLIC_LINK, GNU_SPARSE = b"5", b"D", b"1", b"2", b"S"
_WITHOUT_BODY = (DIRECTORY, HARD_LINK, SYMBOLIC_LINK)
"""Kinds of members whose size is not that of a body: some programs write the size of a link's target there."""


class Header(NamedTuple):
    """One header.

    Attributes:
        kind: the type flag.
        size_bytes: how many bytes follow it, without their padding.
        block: all of its bytes.
    """

    name: str
    kind: bytes
    size_bytes: int
    link_target: str
    block: bytes

    @classmethod
    def parse(cls, block: bytes) -> Header:
        """Parse a block. Raises ArchiveError if it is damaged."""
        if not has_valid_checksum(block):
            raise ArchiveError("a header is damaged: its checksum does not match")
        name = decode_text(block[:100])
        # star has less room for the prefix, and ends it with a zero.
        if block[257:263] == b"ustar\0" and (prefix := decode_text(block[345:500])):
            name = f"{prefix}/{name}"
        kind = block[156:157]
        size_bytes = 0 if kind in _WITHOUT_BODY else parse_number(block[124:136])
        if size_bytes < 0:
            raise ArchiveError(f"member {quote_name(name)} has a negative size")
        return cls(name, kind, size_bytes, decode_text(block[157:257]), block)

    @property
    def has_body(self) -> bool:
        """Whether a size in a pax header is that of a body."""
        return self.kind not in _WITHOUT_BODY


def has_valid_checksum(block: bytes) -> bool:
    """Return whether the checksum is the sum of all bytes, its own counted as spaces; some old programs sum signed bytes."""
    try:
        checksum = parse_number(block[148:156])
    except ArchiveError:
        return False
    rest = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(rest)
    return checksum == unsigned or checksum == unsigned - 256 * sum(byte > 127 for byte in rest)


def parse_number(digits: bytes) -> int:
    """Parse a number in octal digits, or in base 256. Raises ArchiveError if it is neither."""
    if digits[0] in (0x80, 0xFF):  # GNU: base 256, two's complement
        return int.from_bytes(digits[1:], "big") - (256 ** (len(digits) - 1) if digits[0] == 0xFF else 0)
    text = digits.split(b"\0")[0].strip()
    if text.strip(b"01234567"):
        raise ArchiveError(f"a header is damaged: {digits!r} is not an octal number")
    return int(text or b"0", 8)


def parse_decimal(text: str) -> int:
    """Parse a decimal number of a pax header. Raises ArchiveError if it is not one."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ArchiveError(f"a header is damaged: {text!r:.40} is not a valid length")
    return int(text)


def parse_pax_records(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    r"""Parse records of the form ``<length> <keyword>=<value>\n``, where the length is that of the whole record."""
    start = 0
    while start < len(text):
        space = text.find(b" ", start, start + 20)
        length = parse_decimal(text[start : max(space, start)].decode("ascii", "replace"))
        record = text[start : start + length]
        keyword, separator, value = record[space + 1 - start : -1].partition(b"=")
        if not separator or len(record) != length or not record.endswith(b"\n"):
            raise ArchiveError("a pax header is damaged")
        yield keyword, value
        start += length


def decode_text(field: bytes) -> str:
    """Return the text up to the first zero byte."""
    return field.split(b"\0")[0].decode("utf-8", "surrogateescape")
