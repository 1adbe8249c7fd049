"""Finds the line of a key in a TOML file, for an error, which TOML parsers do not report."""

from __future__ import annotations

import itertools
import re
from typing import Any

from tfimm_resolver._util.toml import parse_toml

_PARSED_BYTES_MAX = 4 << 20


class LineFinder:
    """Finds the line on which the definition of a key starts, which TOML parsers do not report.

    It looks for the text of each key in turn, from the line of the one before, and parses up to there to know whether it is
    the one. Where that would take too long, it returns the line of a key further out.
    """

    def __init__(self, text: str) -> None:
        self._text, self._lines, self._left_bytes = text, text.split("\n"), _PARSED_BYTES_MAX
        self._ends = list(itertools.accumulate(len(line) + 1 for line in self._lines))

    def find(self, keys: tuple[str, ...]) -> int:
        """Return the line of the key that ``keys`` lead to, counted from 1."""
        line = 0
        for depth in range(1, len(keys) + 1):
            word = re.compile(rf"(?<![\w-]){re.escape(keys[depth - 1])}(?![\w-])")
            candidates = (number for number in range(line, len(self._lines)) if word.search(self._lines[number]))
            line = next((number for number in candidates if self._is_defined(keys[:depth], number)), line)
        return line + 1

    def _is_defined(self, keys: tuple[str, ...], line: int) -> bool:
        """Whether the text up to the line, and to the end of a value that starts on it, defines the key."""
        for end in self._ends[line:]:
            if (left_bytes := self._left_bytes - end) < 0:
                break
            self._left_bytes = left_bytes
            try:
                value: Any = parse_toml(self._text[:end])
            except ValueError:  # in the middle of a value
                continue
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            return value is not None
        return False
