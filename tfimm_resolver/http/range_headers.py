"""What an answer says of the bytes that it holds: which they are of how many, and of which version of the body."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import requests

_DATE_IS_STRONG_S = 60  # before that, the body might have changed again within the same second
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Which bytes an answer holds, ``stop`` not included, and of how many."""

    start: int
    stop: int
    size_bytes: int


def content_range(reply: requests.Response) -> ContentRange | None:
    """What an answer 206 says that it holds; None for any other, and for what cannot be read."""
    said = _CONTENT_RANGE.fullmatch(reply.headers.get("Content-Range", "").strip())
    if reply.status_code != 206 or not said:
        return None
    return ContentRange(int(said[1]), int(said[2]) + 1, int(said[3]))


def strong_validator(reply: requests.Response) -> str | None:
    """What tells this body from a later one, byte for byte (RFC 9110, 8.8): a strong ETag, or a date that is old enough."""
    mark = reply.headers.get("ETag")
    if mark:
        return None if mark.startswith("W/") else mark
    date = reply.headers.get("Last-Modified")
    try:
        age = parsedate_to_datetime(reply.headers["Date"]) - parsedate_to_datetime(date or "")
    except (KeyError, ValueError, TypeError):
        return None
    return date if age.total_seconds() >= _DATE_IS_STRONG_S else None
