"""Sizes, counts, truncation, and descriptions of unexpected content."""

from __future__ import annotations

import time

import pytest

from tfimm_resolver._util.text import describe_prefix, format_age, format_count, format_size, is_html, truncate_middle


@pytest.mark.parametrize(
    ("start", "description"),
    [
        (b"not  an\n archive", "'not an archive'"),
        (b"", "''"),
        ("caf\u00e9".encode(), "'caf\u00e9'"),
        (b"\x1f\x8b\x08\0" + b"\1" * 300, repr(b"\x1f\x8b\x08\0" + b"\1" * 12)),
        (b" <!DOCTYPE html><p>Sign <b>in</b></p>", "an HTML page: 'Sign in'"),
        (b"<HTML><style>p { color: red }</style><script>go()</script>Gone", "an HTML page: 'Gone'"),
        (b"<html>Gone<a href=https://h", "an HTML page: 'Gone'"),
        (b"<xml>not a page</xml>", "'<xml>not a page</xml>'"),
        (b"<!-- a > b --><html>Sign in", "an HTML page: 'Sign in'"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!DOCTYPE html>Sign in", "an HTML page: 'Sign in'"),
        (b"<!-- " + b"licence " * 100 + b"-->\n<body>Sign in", "an HTML page: 'Sign in'"),
    ],
)
def test_describes_what_is_not_an_archive(start: bytes, description: str) -> None:
    assert describe_prefix(start) == description


@pytest.mark.parametrize(
    "start",
    [
        b"<!DOCTYPE\nHTML PUBLIC '-//W3C//DTD XHTML 1.0'>",
        b"\xef\xbb\xbf\r\n<HTML lang=en>",
        b"<head><title>",
        b"<body\nclass=login>",
        b"<script>location='/login'</script>",
        b"<meta charset=utf-8>",
        b"<!-- one --> <!-- two --><html>",
        b"<?xml version='1.0'?><!-- login --><html xmlns='http://www.w3.org/1999/xhtml'>",
        b"<!-- " + b"x" * 5000,
        b"Warning: no such file\n<br><html>",
    ],
)
def test_a_page_is_known_by_its_start(start: bytes) -> None:
    assert is_html(start) and describe_prefix(start).startswith("an HTML page")


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"<!",
        b"<!-- a comment --><Error><Code>NoSuchKey</Code></Error>",
        b"<?xml version='1.0'?><Error/>",
        b"<?xml " + b"x" * 5000,
        b"<!DOCTYPE svg>",
        b"<header>",
        b"\x08\x01\x12\x0a<html>\0",
        b"the tag html",
    ],
)
def test_what_is_not_a_page(start: bytes) -> None:
    assert not is_html(start) and "HTML page" not in describe_prefix(start)


def test_many_comments_take_linear_time() -> None:
    assert not is_html(b"<!---->" * 600 + b"x") and is_html(b"<!---->" * 500 + b"<html>")


def test_quotes_only_the_first_300_bytes() -> None:
    assert describe_prefix(b"a" * 300 + b"b" * 300) == repr("a" * 300)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 9])
def test_a_truncated_text_has_exactly_the_width_and_shows_both_ends(width: int) -> None:
    text = truncate_middle("0123456789", width)
    start, end = text.split("…")
    assert len(text) == width and "0123456789".startswith(start) and "0123456789".endswith(end)
    assert 0 <= len(end) - len(start) <= 1


@pytest.mark.parametrize("width", [None, 10, 11])
def test_a_text_that_fits_is_not_truncated(width: int | None) -> None:
    assert truncate_middle("0123456789", width) == "0123456789"


def test_only_one_is_singular() -> None:
    assert [format_count(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (9, "9 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_951, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (54_000_000, "54 MB"),
        (1_400_000_000, "1.4 GB"),
        (10**15, "1.0 PB"),
        (10**18 - 1, "1.0 EB"),  # the largest Content-Length that is read
        ((1 << 63) - 1, "9.2 EB"),  # the largest size that a record may hold
        (10**22, "10000 EB"),
    ],
)
def test_sizes_are_rounded_to_decimal_units(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(
    ("passed_s", "expected"), [(5, "just now"), (90, "1 min ago"), (7300, "2 h ago"), (9 * 86400, "9 d ago")]
)
def test_an_age_has_one_unit(passed_s: float, expected: str) -> None:
    assert format_age(time.time() - passed_s) == expected
    assert format_age(0) == ""
