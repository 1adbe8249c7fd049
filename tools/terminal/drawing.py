"""Draws the lines of a terminal as an SVG, which is text in the reader's own font, dark or light as the reader's system."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from tools.terminal.screen import Cell, Style

_CHARACTER_WIDTH, _LINE_HEIGHT, _MARGIN, _BAR_HEIGHT = 8.4, 19, 16, 30
_FONT = "14px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_LIGHT = {
    "page": "#f6f8fa",
    "edge": "#d1d9e0",
    "text": "#1f2328",
    "dim": "#59636e",
    "red": "#b3191f",
    "green": "#116329",
    "yellow": "#7d4e00",
    "blue": "#0550ae",
    "magenta": "#8250df",
    "cyan": "#1b6f7a",
}
_DARK = {
    "page": "#0d1117",
    "edge": "#3d444d",
    "text": "#e6edf3",
    "dim": "#9198a1",
    "red": "#ff7b72",
    "green": "#56d364",
    "yellow": "#e3b341",
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#76e3ea",
}
_SAME_AS_DIM = ("black", "white")


def draw(lines: list[list[Cell]], title: str, columns: int) -> str:
    """Return the SVG of some lines; the title is what it shows, in words."""
    width = round(columns * _CHARACTER_WIDTH + 2 * _MARGIN)
    height = _BAR_HEIGHT + len(lines) * _LINE_HEIGHT + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label={quoteattr(title)}>',
        f"<title>{escape(title)}</title>",
        f"<style>\ntext {{ font: {_FONT}; white-space: pre; }}\n.bold {{ font-weight: bold; }}",
        *_make_colors(_LIGHT),
        "@media (prefers-color-scheme: dark) {",
        *_make_colors(_DARK),
        "}\n</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        *(f'<circle class="button" cx="{_MARGIN + 4 + 18 * number}" cy="16" r="5"/>' for number in range(3)),
    ]
    for number, line in enumerate(lines):
        parts += _draw_line(line, _BAR_HEIGHT + number * _LINE_HEIGHT + 15)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _make_colors(colors: dict[str, str]) -> Iterator[str]:
    yield f".page {{ fill: {colors['page']}; stroke: {colors['edge']}; }} .button {{ fill: {colors['edge']}; }}"
    yield f"text {{ fill: {colors['text']}; }}"
    for name in ("dim", *_SAME_AS_DIM, "red", "green", "yellow", "blue", "magenta", "cyan"):
        yield f".{name} {{ fill: {colors['dim' if name in _SAME_AS_DIM else name]}; }}"


def _draw_line(line: list[Cell], y: int) -> Iterator[str]:
    """Yield a text for each run of one style, of a fixed length, so that columns agree in every font."""
    column = 0
    for style, cells in itertools.groupby(line, key=_get_style):
        text = "".join(character for character, _ in cells)
        start = column + len(text) - len(text.lstrip())
        column += len(text)
        if visible := text.strip():
            names = f' class="{" ".join(sorted(style))}"' if style else ""
            x, length = _MARGIN + start * _CHARACTER_WIDTH, len(visible) * _CHARACTER_WIDTH
            yield f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}"{names}>{escape(visible)}</text>'


def _get_style(cell: Cell) -> Style:
    return cell[1]
