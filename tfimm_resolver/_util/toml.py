"""Reads TOML that others may have written: nesting is limited before it is parsed, since the parser's time grows with it."""

from __future__ import annotations

import re
import sys
from typing import Any

DEPTH_MAX = 16
"""Limit on the parts of a dotted key, and on brackets inside each other. tomllib takes 8 s for 28 kB of one dotted key."""

_TOKEN = re.compile(r"\"\"\"|'''|[\"'#\[\]{}.=,\n]")


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: if it is not TOML, or is nested too deeply; the message ends in the position, ``(at line 1, column 2)``.
    """
    if sys.version_info >= (3, 11):
        import tomllib  # 8 ms that a project without such files does not pay
    else:
        import tomli as tomllib
    _check_depth(text)
    table: dict[str, Any] = tomllib.loads(text)
    return table


def _check_depth(text: str) -> None:
    """Check the depth of keys and brackets in one pass over everything outside of strings and comments."""
    position, dots, depth = 0, 0, 0
    while (found := _TOKEN.search(text, position)) is not None:
        token, position = found[0], found.end()
        if token in _ENDS:
            position = _find_end(text, token, position)
        elif token == ".":
            dots += 1
        elif token in "[{":
            dots, depth = 0, depth + 1
        elif token in "]}":
            dots, depth = 0, max(0, depth - 1)
        else:
            dots = 0
        if max(dots, depth) >= DEPTH_MAX:
            line, column = text.count("\n", 0, position) + 1, position - (text.rfind("\n", 0, position) + 1)
            raise ValueError(f"Nested {DEPTH_MAX} deep or more (at line {line}, column {column})")


def _find_end(text: str, token: str, position: int) -> int:
    """Return where a string or a comment ends; the end of the text if it does not, which the parser then reports."""
    for found in _ENDS[token].finditer(text, position):
        if not found[0].startswith("\\"):
            return found.end()
    return len(text)


_ENDS = {
    '"""': re.compile(r'\\.|"{3,5}', re.DOTALL),
    "'''": re.compile("'{3,5}"),
    '"': re.compile(r'\\.|["\n]', re.DOTALL),
    "'": re.compile("['\n]"),
    "#": re.compile("\n"),
}
