"""Lines about downloads that fit the width of a terminal."""

from __future__ import annotations

from typing import NamedTuple

from tfimm_resolver._util.outgoing import clean_value
from tfimm_resolver._util.text import truncate_middle
from tfimm_resolver.progress.stats import TransferStats

_INDENT = "  "
_FULL_COUNTS_FROM_COLUMNS = 60
"""Narrower terminals get neither a bar nor rate and remaining time."""
_COUNTS_COLUMNS, _SHORT_COUNTS_COLUMNS = 42, 20
_BAR_COLUMNS_MIN, _BAR_COLUMNS_MAX, _LABEL_COLUMNS_MIN = 12, 40, 8


class Line(NamedTuple):
    """A line with a bar, in parts that a terminal shows in different colours."""

    before: str
    done: str
    missing: str
    after: str


def make_line(stats: TransferStats, columns: int, *, is_ascii: bool = False) -> Line:
    """Return the line of a running download, with a bar as wide as the terminal has room for."""
    is_short = columns < _FULL_COUNTS_FROM_COLUMNS
    share = None if is_short else stats.get_share()
    counts = stats.format_counts(is_short=is_short)
    if share is None:
        return Line(fit(stats.label, counts, columns), "", "", "")
    room = columns - len(_INDENT) - _COUNTS_COLUMNS - 4
    label = truncate_middle(stats.label, max(_LABEL_COLUMNS_MIN, room - _BAR_COLUMNS_MIN))
    cells = min(_BAR_COLUMNS_MAX, room - len(label))
    done = int(cells * share)
    full, empty = "#-" if is_ascii else "━─"
    return Line(f"{_INDENT}{label}  ", full * done, empty * (cells - done), f"  {counts}")


def fit(label: str, facts: str, columns: int) -> str:
    """Return a line of a label, shortened in its middle where the terminal is too narrow, and the facts about it."""
    room = columns - len(_INDENT) - len(facts) - 3  # a line that fills the last column makes some terminals wrap
    name = truncate_middle(clean_value(label), max(_LABEL_COLUMNS_MIN, room))
    return f"{_INDENT}{name}  {facts}"[: max(1, columns - 1)]
