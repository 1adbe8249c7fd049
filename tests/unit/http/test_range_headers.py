"""Content-Range, and validators that identify a version of a body."""

from __future__ import annotations

import pytest
import urllib3

from tfimm_resolver.http.range_headers import ContentRange, get_strong_validator, parse_content_range
from tfimm_resolver.http.response import Response, SentRequest

MODIFIED, A_MINUTE_LATER = "Thu, 01 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 2026 00:01:00 GMT"
TOO_SOON = "Thu, 01 Jan 2026 00:00:59 GMT"


def make_response(headers: dict[str, str], status: int = 206) -> Response:
    """Return a response without a body."""
    return Response(SentRequest("https://h/m", {}), (), urllib3.HTTPResponse(b"", headers, status))


def test_a_range_stops_after_its_last_byte() -> None:
    assert parse_content_range(make_response({"content-range": " bytes 5-9/20 "})) == ContentRange(5, 10, 20)


@pytest.mark.parametrize(
    "value", ["", "bytes 5-9/*", "bytes */20", "bytes=5-9/20", "items 5-9/20", "bytes -1-9/20", "bytes 5-9/" + "9" * 19]
)
def test_a_malformed_range_is_none(value: str) -> None:
    assert parse_content_range(make_response({"Content-Range": value})) is None


@pytest.mark.parametrize("status", [200, 416])
def test_only_a_partial_response_has_a_range(status: int) -> None:
    assert parse_content_range(make_response({"Content-Range": "bytes 5-9/20"}, status)) is None


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"ETag": '"tag"'}, '"tag"'),
        ({"ETag": 'W/"tag"'}, None),
        ({"ETag": 'W/"tag"', "Last-Modified": MODIFIED, "Date": A_MINUTE_LATER}, None),
        ({"Last-Modified": MODIFIED, "Date": A_MINUTE_LATER}, MODIFIED),
        ({"Last-Modified": MODIFIED, "Date": TOO_SOON}, None),
        ({"Last-Modified": MODIFIED}, None),
        ({"Last-Modified": "yesterday", "Date": A_MINUTE_LATER}, None),
        ({"Last-Modified": MODIFIED.replace("2026", "9" * 30), "Date": A_MINUTE_LATER}, None),
        ({"Last-Modified": MODIFIED, "Date": A_MINUTE_LATER.replace("00:01", "9" * 30)}, None),
        ({"Date": A_MINUTE_LATER}, None),
        ({}, None),
    ],
)
def test_only_a_strong_tag_or_an_old_date_identifies_a_version(headers: dict[str, str], validator: str | None) -> None:
    assert get_strong_validator(make_response(headers)) == validator
