"""Text for people: sizes, truncation, and descriptions of unexpected content."""

from __future__ import annotations

import re

from tfimm_resolver._util import clock

_TAGS = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style).*?</\1>|<[^>]*>?", re.DOTALL | re.IGNORECASE)
_HTML_TAG = re.compile(rb"<!doctype\s+html|<(?:html|head|body|title|meta|script)[\s/>]|.{,512}?<html[\s>]", re.DOTALL)
"""The last: a page below lines of text, such as the warnings of a script; what is not text has no such tag in its start."""
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))
_START_BYTES, _QUOTED_CHARACTERS = 4096, 300


def describe_prefix(start: bytes) -> str:
    """Describe the first bytes of content that should have been an archive, for an error message."""
    is_page = is_html(start)
    text = start[: _START_BYTES if is_page else _QUOTED_CHARACTERS].decode("utf-8", "replace")
    if is_page:
        text = _TAGS.sub(" ", text.removeprefix("\ufeff"))
    text = " ".join(text.split())[:_QUOTED_CHARACTERS].rstrip()
    return ("an HTML page: " if is_page else "") + (repr(text) if text.isprintable() else repr(start[:16]))


def is_html(start: bytes) -> bool:
    """Return whether content with these first bytes is an HTML page, also behind comments and an XML declaration."""
    text = start[:_START_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"\0" in text:
        return False
    while (is_comment := text.startswith(b"<!--")) or text.startswith(b"<?xml"):
        _, end, text = text.partition(b"-->" if is_comment else b"?>")
        if not end:
            return is_comment  # over 4 KB of it: no other format begins so
        text = text.lstrip()
    return _HTML_TAG.match(text) is not None


def truncate_middle(text: str, width: int | None) -> str:
    """Shorten a text to ``width`` characters by cutting out its middle; a width of None means unlimited."""
    if width is None or len(text) <= width:
        return text
    return f"{text[: (width - 1) // 2]}…{text[len(text) - width // 2 :]}"


def format_count(number: int, noun: str) -> str:
    """Return a count with its noun: ``1 model``, ``2 models``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_size(size_bytes: int) -> str:
    """Format a size for people, in decimal units: 1.4 kB, 54 MB."""
    size, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB", "EB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}" if unit != "B" and size < 9.95 else f"{size:.0f} {unit}"


def format_duration(seconds: float) -> str:
    """Format a time that is left, for people, at least a second: 5 s, 12 min, 3 h, 2 d."""
    duration, unit = max(1.0, seconds), "s"
    for factor, larger in ((60, "min"), (60, "h"), (24, "d")):
        if duration < 1.495 * factor:
            break
        duration, unit = duration / factor, larger
    return f"{duration:.0f} {unit}"


def format_age(when_s: float) -> str:
    """Return how long ago a time in seconds since 1970 was, as ``9 d ago``; empty for 0."""
    if not when_s:
        return ""
    passed_s = clock.get_time_s() - when_s
    for unit_s, unit in _UNITS:
        if passed_s >= unit_s:
            return f"{passed_s // unit_s:.0f} {unit} ago"
    return "just now"
