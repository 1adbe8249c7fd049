"""Text for people: sizes, cuts, and what an unexpected body begins with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

_TAGS = re.compile(r"<(script|style).*?</\1>|<[^>]*>?", re.DOTALL | re.IGNORECASE)


def describe_prefix(start: bytes) -> str:
    """The start of something that was expected to be an archive, for an error message."""
    text = start[:300].decode("utf-8", "replace")
    is_page = text.lstrip()[:9].lower().startswith(("<!doctype", "<html"))
    if is_page:
        text = _TAGS.sub(" ", text)
    text = " ".join(text.split())
    return ("an HTML page: " if is_page else "") + (repr(text) if text.isprintable() else repr(start[:16]))


def truncate_middle(text: str, width: int | None) -> str:
    """A text that is too long for its place, cut in the middle; whole where there is no width."""
    if width is None or len(text) <= width:
        return text
    return f"{text[: (width - 1) // 2]}…{text[len(text) - width // 2 :]}"


def format_size(size_bytes: int) -> str:
    """A size for people: 1.4 kB, 54 MB."""
    size, units = float(size_bytes), iter(("B", "kB", "MB", "GB", "TB", "PB"))
    unit = next(units)
    while size >= 999.5:
        size, unit = size / 1000, next(units)
    return f"{size:.1f} {unit}" if unit != "B" and size < 9.95 else f"{size:.0f} {unit}"
