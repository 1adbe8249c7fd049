"""The end of a zip and its central directory: what they may say, and that they are bounded before they are read."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest

from tests.fakes.archives import MODEL
from tests.fakes.hostile import ZipMember, add_zip64_end, make_zip, u
from tests.fakes.zips import STUB, make_model
from tfimm_resolver.archives.zip_directory import End, find_end, may_follow_stub, read_entries, read_wide_numbers
from tfimm_resolver.errors import ArchiveError


def read_names(data: bytes) -> list[str]:
    """Return the names in the central directory."""
    file = io.BytesIO(data)
    end = find_end(file)
    assert end is not None
    return [entry.name for entry in read_entries(file, end)]


@pytest.mark.parametrize("before", [b"", STUB])
@pytest.mark.parametrize("after", [b"", bytes(10_000)], ids=["", "zeros"])
@pytest.mark.parametrize("is_wide", [False, True], ids=["32 bits", "64 bits"])
def test_finds_the_end(before: bytes, after: bytes, is_wide: bool) -> None:
    data = add_zip64_end(make_model(), len(MODEL)) if is_wide else make_model()
    assert read_names(before + data + after) == [*MODEL]
    end = find_end(io.BytesIO(before + data + after))
    assert end is not None and (end.count, end.shift, end.comment) == (len(MODEL), len(before), b"")


@pytest.mark.parametrize("comment", [b"made by hand", b"PK\x05\x06", b"PK\x05\x06" + b"x" * 18, b"x" * 0xFFFF], ids=len)
def test_a_comment_may_contain_anything(comment: bytes) -> None:
    end = find_end(io.BytesIO(make_zip(comment=comment)))
    assert end is not None and end.comment == comment


@pytest.mark.parametrize("data", [b"", b"PK", b"x" * 100_000, make_zip() + b"x", make_zip()[:-1], b"PK\x05\x06" * 20_000])
def test_what_ends_otherwise_is_no_zip(data: bytes) -> None:
    assert find_end(io.BytesIO(data)) is None


def set_disks(data: bytes, *numbers: int) -> bytes:
    """Set the numbers of parts in the end record."""
    return data[:-18] + u(2, *numbers) + data[-18 + 2 * len(numbers) :]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (set_disks(make_zip(), 1, 0), "one part of a zip"),
        (set_disks(make_zip(), 0, 1), "one part of a zip"),
        (set_disks(make_zip(), 0, 0, 2, 1), "one part of a zip"),
        (make_zip(size=1 << 20), "incomplete"),
        (make_zip(start=1 << 20), "incomplete"),
        (make_zip(first=False, before=b"x" * 10), "incomplete"),
        (make_zip(ZipMember("a" * 100), count=2, size=100), "incomplete|another length"),
        (add_zip64_end(make_zip(), 1).replace(u(2, 0xFFFF, 0xFFFF), u(2, 1, 2)), "contradict"),
        (add_zip64_end(make_zip(), 1).replace(b"PK\x06\x06", b"PK\x06\x05"), "64 bits is missing"),
    ],
    ids=range(9),
)
def test_a_contradiction_in_the_end_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ArchiveError, match=words):
        read_names(data)


def test_a_record_of_64_bits_may_be_longer() -> None:
    data = add_zip64_end(make_zip(), 1)
    at = data.index(b"PK\x06\x06")
    longer = data[:at] + b"PK\x06\x06" + u(8, 54) + data[at + 12 : at + 56] + b"x" * 10 + data[at + 56 :]
    assert read_names(longer) == ["saved_model.pb"]


def test_a_member_in_another_part_is_refused() -> None:
    data = make_zip()
    at = data.index(b"PK\x01\x02") + 34
    with pytest.raises(ArchiveError, match="one part of a zip"):
        read_names(data[:at] + u(2, 3) + data[at + 2 :])


def test_a_directory_that_its_count_does_not_explain_is_not_read() -> None:
    """A name may have 65,535 bytes, and a file 100,000 members: their names would need gigabytes."""
    members = [ZipMember(b"n" * 65_000) for _ in range(200)]
    with pytest.raises(ArchiveError, match=r"central directory has \d+ bytes for 201 members"):
        find_end(io.BytesIO(make_zip(*members)))
    assert len(read_names(make_zip(*(ZipMember(f"{number}" + "n" * 1000) for number in range(2000))))) == 2001


class CountingFile(io.BytesIO):
    """A file that counts what is read."""

    read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.read_bytes += len(data)
        return data


def test_the_end_tells_the_count_before_the_directory_is_read() -> None:
    count = 100_000
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    file = CountingFile(
        add_zip64_end(entry * count + b"PK\5\6" + u(2, 0, 0, 0, 0) + u(4, len(entry) * count, 0) + u(2, 0), count)
    )
    end = find_end(file)
    assert isinstance(end, End) and end.count == count and file.read_bytes < 70_000


@pytest.mark.parametrize("count", [1, 3])
def test_the_directory_has_as_many_members_as_the_end_says(count: int) -> None:
    with pytest.raises(ArchiveError, match="central directory"):
        read_names(make_zip(ZipMember("a"), count=count))


def test_numbers_of_64_bits_are_taken_where_there_is_no_room() -> None:
    full = 0xFFFFFFFF
    assert read_wide_numbers(u(8, 7, 8), full, 5, full) == [7, 5, 8]
    assert read_wide_numbers(None, full, 5) == [full, 5]
    with pytest.raises(ArchiveError, match="64 bits is missing"):
        read_wide_numbers(u(8, 7), full, full)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"#!/bin/sh\nPK\3\4", True),
        (b"MZ" + bytes(1000) + b"PK\3\4", True),
        (b"<html>", False),
        (b"\x1c\0\0\0TFL3" + b"PK\3\4", False),
        (b"\x89HDF\r\n" + b"PK\3\4", False),
        (b"", False),
    ],
    ids=range(6),
)
def test_tells_a_stub_from_other_formats(start: bytes, expected: Any) -> None:
    assert may_follow_stub(start) == expected
