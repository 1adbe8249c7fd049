"""Reads Content-Range, and the validator that identifies a version of a body."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from tfimm_resolver.http.response import Response

_STRONG_DATE_AGE_S = 60  # a younger date is weak: the body may have changed again within the same second
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


class ContentRange(NamedTuple):
    """The bytes from ``start`` up to, not including, ``stop`` of a body of ``size_bytes``."""

    start: int
    stop: int
    size_bytes: int


def parse_content_range(response: Response) -> ContentRange | None:
    """Return the range that a 206 response holds; None for any other status, and for a malformed header."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if response.status_code != 206 or not match:
        return None
    return ContentRange(int(match[1]), int(match[2]) + 1, int(match[3]))


def get_strong_validator(response: Response) -> str | None:
    """Return the strong validator of a body (RFC 9110, 8.8): a strong ETag, or a Last-Modified date that is old enough."""
    etag = response.headers.get("ETag")
    if etag:
        return None if etag.startswith("W/") else etag
    date = response.headers.get("Last-Modified")
    try:
        age = parsedate_to_datetime(response.headers["Date"]) - parsedate_to_datetime(date or "")
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    return date if age.total_seconds() >= _STRONG_DATE_AGE_S else None
