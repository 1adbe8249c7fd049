"""Reads the central directory of a zip, at its end; what it claims to contain is known before it is read."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from tfimm_resolver.archives.zip_names import decode_name, find_extra
from tfimm_resolver.errors import ArchiveError

STUB_BYTES_MAX = 1 << 20
LOCAL_SIGNATURE = b"PK\x03\x04"
ZIP64_EXTRA = 1
SIZE_IN_ZIP64, COUNT_IN_ZIP64 = 0xFFFFFFFF, 0xFFFF

LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # APPNOTE.TXT 4.3.7
_ENTRY = struct.Struct("<4s6H3L5H2L")  # 4.3.12
_END = struct.Struct("<4s4H2LH")  # 4.3.16
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
_VERSION_MAX, _METHOD_MAX, _NAME_BYTES_MAX = 63, 99, 4096
_COMMENT_BYTES_MAX = 0xFFFF
_DIRECTORY_BYTES_MIN, _ENTRY_BYTES_MEAN = 8 << 20, 176
"""A directory is refused if it has more bytes than the one, and than the other for each member: names fill the memory."""
_OTHER_FORMATS = (b"\x89HDF", b"\x89PNG", b"%PDF", b"GIF8", b"\xff\xd8\xff")
_TFLITE = b"TFL3"
"""Files of these formats may end with a zip, of labels for example, but are not zips."""


@dataclass(frozen=True, slots=True)
class End:
    """What the end of a zip says.

    Attributes:
        count: how many members there are.
        start: where the central directory begins in the file.
        stop: where it ends.
        shift: how many bytes were put before the zip without a correction of its offsets.
        comment: the comment of the zip.
    """

    count: int
    start: int
    stop: int
    shift: int
    comment: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A member as the central directory lists it.

    Attributes:
        name: its name, decoded; ``raw_name`` as it is in the file.
        is_guessed: whether the encoding of the name is only assumed.
        host: the system on which the member was packed.
        offset: where its local header begins in the file.
        mode: its mode on Unix, with its kind; 0 if unknown.
    """

    name: str
    raw_name: bytes
    is_guessed: bool
    host: int
    flags: int
    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    offset: int
    mode: int


def may_follow_stub(start: bytes) -> bool:
    """Return whether a zip may begin somewhere in the first bytes of a file, behind a program that unpacks it."""
    is_other = start.startswith(_OTHER_FORMATS) or start[4:8] == _TFLITE
    return LOCAL_SIGNATURE in start and not is_other


def check_stub(file: IO[bytes], length: int) -> int:
    """Return the length of what precedes the first member: a program that unpacks the zip, not another member."""
    file.seek(0)
    stub = file.read(length) if length <= STUB_BYTES_MAX else LOCAL_SIGNATURE
    at = stub.find(LOCAL_SIGNATURE)
    while at >= 0:
        file.seek(at)
        if at == 0 or _is_plausible(file.read(LOCAL_HEADER.size)):
            raise ArchiveError("the zip is damaged: what precedes its first member does not match the central directory")
        at = stub.find(LOCAL_SIGNATURE, at + 1)
    return length


def _is_plausible(head: bytes) -> bool:
    """Return whether a local header has fields that occur; the constant in a program's code has others after it."""
    if len(head) < LOCAL_HEADER.size:
        return False
    _, version, _, method, *_, name_bytes, _ = LOCAL_HEADER.unpack(head)
    return bool(version & 0xFF <= _VERSION_MAX and method <= _METHOD_MAX and 0 < name_bytes <= _NAME_BYTES_MAX)


def find_end(file: IO[bytes], *, is_last: bool = False) -> End | None:
    """Return what the end of a zip says; None if the file does not end like one, but for zeros.

    ``is_last``: only the last of several records is the end, also if its length is wrong, as for ``zipfile``.

    Raises:
        ArchiveError: if it contradicts itself, or if the central directory is larger than its count of members explains.
    """
    length = file.seek(0, os.SEEK_END)
    tail_start = max(0, length - _END.size - _COMMENT_BYTES_MAX)
    file.seek(tail_start)
    tail = file.read(length - tail_start)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        if len(tail) - at >= _END.size:
            fields = _END.unpack_from(tail, at)
            comment_end = at + _END.size + fields[-1]
            # Zeros after it are padding, as bsdtar writes it into a pipe.
            if comment_end <= len(tail) and not tail[comment_end:].strip(b"\0"):
                return _make_end(file, tail_start + at, fields, tail[at + _END.size : comment_end], is_last=is_last)
        if is_last:
            return None
        at = tail.rfind(b"PK\x05\x06", 0, at)
    return None


def _make_end(file: IO[bytes], stop: int, fields: tuple[int, ...], comment: bytes, *, is_last: bool) -> End:
    _, disk, first_disk, count_here, count, size_bytes, offset, _ = fields
    file.seek(max(0, stop - _LOCATOR.size))
    locator = file.read(_LOCATOR.size)
    if len(locator) == _LOCATOR.size and locator.startswith(b"PK\x06\x07"):
        stop -= _LOCATOR.size
        last = stop - _END64.size
        positions = (last,) if is_last else (last, _LOCATOR.unpack(locator)[2])  # behind a stub, offsets may be wrong
        stop, disk, first_disk, *rest = _read_zip64_end(file, stop, positions, fields)
        count_here, count, size_bytes, offset = rest
    if disk or first_disk or count_here != count:
        raise ArchiveError("it is one part of a zip that was split", fix="Join the parts, for example with `zip -s 0`.")
    start = stop - size_bytes
    if start < offset or (not count and start):
        raise ArchiveError("the zip is damaged: its central directory is incomplete")
    if size_bytes > max(_DIRECTORY_BYTES_MIN, count * _ENTRY_BYTES_MEAN):
        raise ArchiveError(f"the zip is damaged: its central directory has {size_bytes} bytes for {count} members")
    return End(count, start, stop, start - offset, comment)


def _read_zip64_end(file: IO[bytes], stop: int, positions: tuple[int, ...], fields: tuple[int, ...]) -> list[int]:
    """Return where the record for 64 bits begins, and its numbers; those of the plain record must agree with them."""
    for position in positions:
        if not 0 <= position <= stop - _END64.size:
            continue
        file.seek(position)
        signature, length, _, _, *numbers = _END64.unpack(file.read(_END64.size))
        if signature == b"PK\x06\x06" and position + 12 + length == stop:
            narrow = (COUNT_IN_ZIP64,) * 4 + (SIZE_IN_ZIP64,) * 2
            for wide, plain, unknown in zip(numbers, fields[1:7], narrow, strict=True):
                if plain not in (wide, unknown):
                    raise ArchiveError("the zip is damaged: its two end records contradict each other")
            return [position, *numbers]
    raise ArchiveError("the zip is damaged: its end record for 64 bits is missing")


def read_entries(file: IO[bytes], end: End) -> Iterator[Entry]:
    """Yield as many members as the end says.

    Raises:
        ArchiveError: if the central directory is damaged, or does not end there.
    """
    file.seek(end.start)
    left_bytes = end.stop - end.start
    for _ in range(end.count):
        head = file.read(_ENTRY.size)
        if len(head) < _ENTRY.size or not head.startswith(b"PK\x01\x02"):
            raise ArchiveError("the zip is damaged: its central directory is incomplete")
        fields = _ENTRY.unpack(head)
        name_bytes, extra_bytes, comment_bytes = fields[10:13]
        left_bytes -= _ENTRY.size + name_bytes + extra_bytes + comment_bytes
        rest = file.read(name_bytes + extra_bytes + comment_bytes)
        yield _make_entry(fields, rest[:name_bytes], rest[name_bytes : name_bytes + extra_bytes], end)
    if left_bytes:
        raise ArchiveError("the zip is damaged: its central directory has another length than its end says")


def _make_entry(fields: tuple[int, ...], raw_name: bytes, extra: bytes, end: End) -> Entry:
    _, made_by, _, flags, method, _, _, crc, packed_bytes, size_bytes, *_, disk, _, attributes, offset = fields
    wide = find_extra(extra, ZIP64_EXTRA)
    size_bytes, packed_bytes, offset = read_wide_numbers(wide, size_bytes, packed_bytes, offset)
    if disk not in (0, COUNT_IN_ZIP64):
        raise ArchiveError("it is one part of a zip that was split", fix="Join the parts, for example with `zip -s 0`.")
    host = made_by >> 8
    name, is_guessed = decode_name(raw_name, flags, host, extra)
    return Entry(
        name,
        raw_name,
        is_guessed,
        host,
        flags,
        method,
        crc,
        packed_bytes,
        size_bytes,
        offset + end.shift,
        attributes >> 16,
    )


def read_wide_numbers(wide: bytes | None, *numbers: int) -> list[int]:
    """Return the numbers, taking those that a header has no room for from its extra field (APPNOTE.TXT 4.5.3).

    Raises:
        ArchiveError: if one is not there.
    """
    found, rest = [], wide or b""
    for number in numbers:
        if number == SIZE_IN_ZIP64 and wide is not None:
            if len(rest) < 8:
                raise ArchiveError("the zip is damaged: a number of 64 bits is missing")
            found.append(int.from_bytes(rest[:8], "little"))
            rest = rest[8:]
        else:
            found.append(number)
    return found
