"""Facts about files and where they came from, as records hold them."""

from __future__ import annotations

from typing import Any

import pytest

from tfimm_resolver.manifest import Origin, parse_size

ORIGIN = Origin("https://h/m.tar.gz", '"tag"', 7, "a" * 64, "refs/heads/main", "c" * 40, "Thu, 01 Jan 2026 00:00:00 GMT")


def test_an_origin_is_read_as_it_was_written() -> None:
    assert Origin.parse(ORIGIN._asdict()) == ORIGIN


def test_fields_that_are_missing_are_empty_and_unknown_ones_are_ignored() -> None:
    assert Origin.parse({}) == Origin() and Origin().size_bytes is None
    assert Origin.parse({"url": "u", "a_later_field": {"x": 1}, "size_bytes": None}) == Origin("u")


def test_texts_of_another_type_become_texts() -> None:
    assert Origin.parse({"etag": 5, "size_bytes": "7"}) == Origin(etag="5", size_bytes=7)


@pytest.mark.parametrize("value", [0, 1, (1 << 63) - 1, "12"])
def test_a_size_is_a_number_of_bytes(value: Any) -> None:
    assert parse_size(value) == int(value)


@pytest.mark.parametrize("value", [-1, 1 << 63, "many", "", "-5", float("nan"), float("inf"), None, [7]])
def test_anything_else_is_not_a_size(value: Any) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        parse_size(value)


def test_the_repr_of_an_origin_shows_no_secret() -> None:
    text = repr(Origin("https://ada:hunter22@h/m?sig=hunter22", commit="c"))
    assert "hunter22" not in text and text.startswith("Origin(url='https://h/m?") and "commit='c'" in text
