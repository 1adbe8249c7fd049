"""Tables of texts from outside: as lines for a terminal, and as HTML for a notebook in which every text is escaped."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from tfimm_resolver._util.outgoing import clean_value

# No colour but for warnings: a notebook has a light or a dark background, and its own colour of text.
CELL = "padding:2px 12px 2px 0;text-align:{};vertical-align:top;border:none"
_TABLE = "border-collapse:collapse;margin:2px 0 10px;font-size:inherit"
_TEXT = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.5;max-width:{}em"
_WARNING = "color:#d93025;font-weight:600"
_DIM = "opacity:.65"
_ONE_LINE, _MANY_LINES, _ONE_LINE_MAX = "white-space:nowrap", "overflow-wrap:anywhere", 24

_TEXT_WIDTH, _TEXT_ROWS, _HTML_WIDTH, _HTML_ROWS = 60, 50, 200, 100


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts, which may come from outside.

    Attributes:
        head: the names of the columns.
        rows: the cells, a text each.
        summary: one line about all of it.
        numbers: the indexes of columns that are aligned to the right.
        warned: texts that a notebook shows in red.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    summary: str = ""
    numbers: Collection[int] = ()
    warned: Collection[str] = field(default_factory=frozenset)


def format_text(table: Table) -> str:
    """Return a table as aligned lines: the summary, the head and the rows, of which a long table shows the first."""
    rows = [[clean_value(cell, _TEXT_WIDTH) for cell in row] for row in table.rows[:_TEXT_ROWS]]
    lines = align_columns([[*table.head], *rows], numbers=table.numbers) if rows else []
    more = _count_more(table, _TEXT_ROWS)
    return "\n".join([*filter(None, [clean_value(table.summary)]), *lines, *filter(None, [more])])


def align_columns(
    rows: Sequence[Sequence[str]], *, numbers: Collection[int] = (), measure: Callable[[str], int] = len
) -> list[str]:
    """Return one line per row, with columns as wide as their longest cell; ``measure`` returns the width of a cell."""
    widths = [max(map(measure, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        blanks = [" " * (width - measure(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [
            blank + cell if index in numbers else cell + blank
            for index, (cell, blank) in enumerate(zip(row, blanks, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def format_html(table: Table) -> str:
    """Return a table as HTML without scripts, for a notebook; a long table shows its first rows."""
    head = [dim_html(escape_html(name)) for name in table.head]
    rows = [[_format_cell(cell, table.warned) for cell in row] for row in table.rows[:_HTML_ROWS]]
    parts = [f"<div>{escape_html(table.summary)}</div>"] if table.summary else []
    parts += [make_html_table([head, *rows], numbers=table.numbers)] if rows else []
    more = _count_more(table, _HTML_ROWS)
    return frame_html([*parts, *([f"<div>{more}</div>"] if more else [])], width_em=100)


def escape_html(text: str) -> str:
    """Return a text from outside as HTML: on one line, without secrets, with what is not visible escaped, and cut."""
    return html.escape(clean_value(text, _HTML_WIDTH))


def make_html_table(rows: Iterable[Sequence[str]], *, numbers: Collection[int] = ()) -> str:
    """Return a table of cells that are HTML already."""
    lines = (
        "".join(
            f'<td style="{CELL.format("right" if index in numbers else "left")}">{cell}</td>' for index, cell in enumerate(row)
        )
        for row in rows
    )
    return f'<table style="{_TABLE}">{"".join(f"<tr>{line}</tr>" for line in lines)}</table>'


def frame_html(parts: Iterable[str], width_em: int = 60) -> str:
    """Return parts of HTML in the font of all views."""
    return f'<div style="{_TEXT.format(width_em)}">{"".join(parts)}</div>'


def warn_html(content: str) -> str:
    """Return HTML in the colour of warnings."""
    return f'<span style="{_WARNING}">{content}</span>'


def dim_html(content: str) -> str:
    """Return HTML as a label beside the values."""
    return f'<span style="{_DIM}">{content}</span>'


def _format_cell(text: str, warned: Collection[str]) -> str:
    lines = _ONE_LINE if len(text) <= _ONE_LINE_MAX else _MANY_LINES
    return (
        f'<span style="{lines}">{warn_html(escape_html(text)) if text in warned else escape_html(text)}</span>' if text else ""
    )


def _count_more(table: Table, rows_max: int) -> str:
    rest = len(table.rows) - rows_max
    return f"and {rest} more" if rest > 0 else ""
