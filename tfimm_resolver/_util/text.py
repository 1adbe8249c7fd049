"""Text for people: sizes, truncation, and descriptions of unexpected content."""

from __future__ import annotations

import re

_TAGS = re.compile(r"<(script|style).*?</\1>|<[^>]*>?", re.DOTALL | re.IGNORECASE)


def describe_prefix(start: bytes) -> str:
    """Describe the first bytes of content that should have been an archive, for an error message."""
    text = start[:300].decode("utf-8", "replace")
    is_page = text.lstrip()[:9].lower().startswith(("<!doctype", "<html"))
    if is_page:
        text = _TAGS.sub(" ", text)
    text = " ".join(text.split())
    return ("an HTML page: " if is_page else "") + (repr(text) if text.isprintable() else repr(start[:16]))


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
