"""Tests of ``_util.json_text``: size, values and nesting are limited before a text is parsed."""

from __future__ import annotations

import json

import pytest

from tfimm_resolver._util.json_text import parse_json


@pytest.mark.parametrize("value", [None, 1, "ä\u2028", [], {}, {"a": [1, 2, {"b": None}]}, [[]] * 9])
def test_a_text_is_parsed_as_by_json(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert parse_json(text) == parse_json(text.encode()) == parse_json(b"\xef\xbb\xbf" + text.encode()) == value


@pytest.mark.parametrize(
    "text",
    ["[" + "[]," * 50_000 + "0]", "[" + '{"":0},' * 50_000 + "0]", "[" + "0," * 50_000 + "0]", '{"a":' * 50_000, "[" * 50_000],
    ids=["lists", "dicts", "numbers", "deep dicts", "deep lists"],
)
def test_a_text_of_very_many_values_is_not_parsed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("json.loads", lambda *_, **__: pytest.fail("it was parsed"))
    for data in (text, text.encode()):
        with pytest.raises(ValueError, match="over 50000 values"):
            parse_json(data)


def test_a_text_that_is_too_long_is_not_decoded() -> None:
    with pytest.raises(ValueError, match="over 9 bytes"):
        parse_json(b"\xff" * 10, max_bytes=9)
    assert parse_json(b"[1,2,3,4]", max_bytes=9, max_values=5) == [1, 2, 3, 4]


@pytest.mark.parametrize("text", [b"\xff\xfe1\0", b"\x80", b"", "{", "9" * 5000, "[" * 20_000, '{"":' * 20_000])
def test_anything_else_is_an_error_of_one_kind(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_pairs_can_be_checked_as_they_are_read() -> None:
    assert parse_json('{"a":1,"a":2}', pairs_hook=list) == [("a", 1), ("a", 2)]
