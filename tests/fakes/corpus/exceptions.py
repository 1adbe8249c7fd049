"""The table of docs/exceptions.md: inputs on which this package and tensorflow_hub differ, or that neither reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PATH = Path(__file__).parents[3] / "docs" / "exceptions.md"
_COLUMNS = ["id", "input", "tensorflow_hub", "this package", "why", "what to do"]
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        is_read_by_hub: whether tensorflow_hub reads such an input.
        is_error: whether this package refuses it, with one of the ``messages``.
    """

    id: str
    is_read_by_hub: bool
    is_error: bool
    messages: tuple[str, ...]


def read_table(text: str | None = None) -> dict[str, Row]:
    """Return the rows by their ids; raise AssertionError if a cell is empty, or a row says nothing that can be checked."""
    lines = (PATH.read_text() if text is None else text).splitlines()
    rows = [_split(line) for line in lines if line.startswith("|")]
    assert rows[:1] == [_COLUMNS], rows[:1]
    found = {}
    for cells in rows[2:]:
        assert len(cells) == len(_COLUMNS) and all(cells), cells
        key, _, hub, package, _, _ = cells
        assert key not in found, f"two rows {key}"
        assert hub.split()[0] in ("reads", "refuses") and package.split()[0] in ("refuses", "takes", "returns"), cells
        is_error = package.startswith("refuses")
        messages = tuple(_CODE.findall(package)) if is_error else ()
        assert messages or not is_error, f"row {key} quotes no message"
        found[key] = Row(key, hub.startswith("reads"), is_error, messages)
    return found


def _split(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
