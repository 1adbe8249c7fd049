"""Headers and their numbers."""

from __future__ import annotations

import pytest

from tests.fakes.hostile import header
from tfimm_resolver.archives.tar_header import Header, parse_decimal, parse_number, parse_pax_records
from tfimm_resolver.errors import ArchiveError


def test_parses_each_field() -> None:
    parsed = Header.parse(header(b"name", 7, b"0", link=b"target", prefix=b"folder"))
    assert (parsed.name, parsed.kind, parsed.size_bytes, parsed.link_target) == ("folder/name", b"0", 7, "target")


@pytest.mark.parametrize("kind", [b"1", b"2", b"5"])
def test_a_link_or_directory_has_no_body(kind: bytes) -> None:
    parsed = Header.parse(header(b"name", 7, kind))
    assert parsed.size_bytes == 0 and not parsed.has_body


def test_every_changed_byte_is_noticed() -> None:
    block = header(b"name", 7)
    for at in range(0, 500, 3):
        with pytest.raises(ArchiveError, match="checksum"):
            Header.parse(block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :])


@pytest.mark.parametrize(
    ("digits", "number"),
    [
        (b"00000000017\0", 15),
        (b"        17 \0", 15),
        (b"17\0garbage ", 15),
        (b"\0" * 12, 0),
        (b"\x80" + bytes(7) + b"\0\0\1\0", 256),
        (b"\xff" * 12, -1),
    ],
)
def test_parses_numbers_in_octal_and_base_256(digits: bytes, number: int) -> None:
    assert parse_number(digits) == number


@pytest.mark.parametrize("digits", [b"00000000018\0", b"-1\0", b"0x10\0", b"\xfe" * 12])
def test_refuses_other_numbers(digits: bytes) -> None:
    with pytest.raises(ArchiveError, match="not an octal number"):
        parse_number(digits)


@pytest.mark.parametrize("text", ["", "-1", "1.0", "x", "٣", "1" * 20, " 1"])
def test_refuses_other_decimal_numbers(text: str) -> None:
    with pytest.raises(ArchiveError, match="not a valid length"):
        parse_decimal(text)


def test_records_are_parsed_in_their_order() -> None:
    assert list(parse_pax_records(b"6 a=b\n9 a=c=\nd\n")) == [(b"a", b"b"), (b"a", b"c=\nd")]
