"""Expands sparse files in a tar: the old format of GNU tar, and the formats 0.0, 0.1 and 1.0 for pax headers.

https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tfimm_resolver.archives.budget import Budget
from tfimm_resolver.archives.member_policy import quote_name
from tfimm_resolver.archives.tar_blocks import BlockReader
from tfimm_resolver.archives.tar_header import BLOCK_BYTES, Header, parse_decimal, parse_number
from tfimm_resolver.errors import ArchiveError

PAX_PREFIX = b"GNU.sparse."
_HOLE = memoryview(bytes(1 << 18))
_NUMBER_BYTES = 12
_NUMBER_DIGITS_MAX = 20
_PAIRS_IN_HEADER, _PAIRS_IN_BLOCK = (386, 482), (0, 504)
"""Where the regions are: in the header, and in each block that extends it. The byte after them tells whether one follows."""
_REAL_SIZE = slice(483, 495)

Regions = Sequence[tuple[int, int]]
"""Offset and length of each part of a file that the archive contains; the rest are holes."""


class SparseMap(NamedTuple):
    """Where the bytes of a sparse file belong.

    Attributes:
        size_bytes: the size of the file, with its holes.
        stored_bytes: how many bytes of it the archive contains, after the map.
    """

    size_bytes: int
    stored_bytes: int
    regions: Regions

    def expand(self, stored: Iterator[memoryview], budget: Budget) -> Iterator[memoryview]:
        """Yield the bytes of the file, its holes as zeros, which count towards the limits as its other bytes do."""
        position = 0
        rest = memoryview(b"")
        for offset, length in self.regions:
            yield from _make_hole(offset - position, budget)
            position = offset + length
            left = length
            while left:
                rest = rest or next(stored)  # there are enough: the lengths were compared
                chunk, rest = rest[:left], rest[left:]
                left -= len(chunk)
                yield chunk
        yield from _make_hole(self.size_bytes - position, budget)


def read_old_map(header: Header, reader: BlockReader, budget: Budget) -> SparseMap:
    """Read the map of a member of type S, which its header and the blocks after it contain."""
    pairs, block, (start, end) = list[tuple[int, int]](), header.block, _PAIRS_IN_HEADER
    while True:
        pairs += _parse_pairs(block[start:end])
        if not block[end]:
            break
        budget.add_members(_PAIRS_IN_BLOCK[1] // (2 * _NUMBER_BYTES))
        block, (start, end) = reader.read_exact(BLOCK_BYTES), _PAIRS_IN_BLOCK
    return _make_map(header.name, parse_number(header.block[_REAL_SIZE]), header.size_bytes, pairs)


def read_pax_map(
    name: str, size_bytes: int, records: Mapping[bytes, bytes], pairs: list[bytes], reader: BlockReader, budget: Budget
) -> SparseMap:
    """Read the map of a member that follows a pax header with records of sparse files.

    Args:
        name: for error messages.
        size_bytes: how many bytes follow the member's header.
        records: the last value of each keyword after ``GNU.sparse.``.
        pairs: the values of ``offset`` and ``numbytes``, in their order, which format 0.0 repeats for each region.
        reader: stands after the member's header.
        budget: where the regions are counted.
    """
    version = (records.get(b"major", b"0"), records.get(b"minor", b"0"))
    real_bytes = _parse(records.get(b"realsize") or records.get(b"size") or b"")
    if version == (b"1", b"0"):
        regions, map_bytes = _read_map_before_bytes(reader, size_bytes, budget)
        return _make_map(name, real_bytes, size_bytes - map_bytes, regions)
    if records.get(b"major", b"0") != b"0":
        raise ArchiveError(f"member {quote_name(name)} is a sparse file of an unknown version")
    numbers = records[b"map"].split(b",") if b"map" in records else pairs
    budget.add_members(len(numbers) // 2)
    if len(numbers) % 2 or len(numbers) // 2 != _parse(records.get(b"numblocks", b"%d" % (len(numbers) // 2))):
        raise _make_map_error(name)
    values = [_parse(number) for number in numbers]
    return _make_map(name, real_bytes, size_bytes, list(zip(values[::2], values[1::2], strict=True)))


def _read_map_before_bytes(reader: BlockReader, size_bytes: int, budget: Budget) -> tuple[Regions, int]:
    """Read the map of format 1.0, decimal numbers in lines at the beginning of the body; return its length, too."""
    read_bytes, rest = 0, b""

    def read_number() -> int:
        nonlocal read_bytes, rest
        while b"\n" not in rest:
            if len(rest) > _NUMBER_DIGITS_MAX or read_bytes + BLOCK_BYTES > size_bytes:
                raise ArchiveError("the map of a sparse file is damaged")
            rest += reader.read_exact(BLOCK_BYTES)
            read_bytes += BLOCK_BYTES
        line, _, rest = rest.partition(b"\n")
        return _parse(line)

    count = read_number()
    budget.add_members(count)
    return [(read_number(), read_number()) for _ in range(count)], read_bytes


def _parse_pairs(fields: bytes) -> Iterable[tuple[int, int]]:
    """Parse pairs of numbers, up to the first that is empty."""
    width = 2 * _NUMBER_BYTES
    for at in range(0, len(fields) - width + 1, width):
        if not fields[at + _NUMBER_BYTES]:
            return
        yield parse_number(fields[at : at + _NUMBER_BYTES]), parse_number(fields[at + _NUMBER_BYTES : at + width])


def _make_map(name: str, size_bytes: int, stored_bytes: int, regions: Regions) -> SparseMap:
    """Return a map. Raises ArchiveError if its regions overlap, or are not what the archive contains."""
    position = 0
    for offset, length in regions:
        if offset < position or length < 0:
            raise _make_map_error(name)
        position = offset + length
    if position > size_bytes or sum(length for _, length in regions) != stored_bytes:
        raise _make_map_error(name)
    return SparseMap(size_bytes, stored_bytes, regions)


def _make_map_error(name: str) -> ArchiveError:
    return ArchiveError(f"member {quote_name(name)} is a sparse file whose map is damaged")


def _make_hole(size_bytes: int, budget: Budget) -> Iterator[memoryview]:
    while size_bytes:
        hole = _HOLE[:size_bytes]
        budget.add_bytes(len(hole))
        size_bytes -= len(hole)
        yield hole


def _parse(number: bytes) -> int:
    return parse_decimal(number.decode("ascii", "replace"))
