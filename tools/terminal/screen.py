"""What a terminal shows after it received text: lines of characters with their styles."""

from __future__ import annotations

import re

Style = frozenset[str]
Cell = tuple[str, Style]
_PLAIN: Style = frozenset()
_CONTROL = re.compile(r"\x1b\[([\d;?]*)([A-Za-z])|\x1b\][^\x07]*\x07|([\r\n])|(.)", re.DOTALL)
_EXTENDED_COLOR = re.compile(r"[34]8;(?:5;\d+|2;\d+;\d+;\d+)")  # of which a picture has none
_COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


class Screen:
    """A terminal without a last line: it understands what progress bars and coloured text send.

    Attributes:
        lines: the cells of each line.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self.lines: list[list[Cell]] = [[]]
        self._row = self._column = 0
        self._style = _PLAIN

    def write(self, text: str) -> None:
        """Show a text at the cursor."""
        for found in _CONTROL.finditer(text):
            parameters, final, line_end, character = found.groups()
            if character:
                self._put(character)
            elif line_end == "\r":
                self._column = 0
            elif line_end:
                self._move_down()
            elif final:
                self._control(final, parameters)

    def _put(self, character: str) -> None:
        if self._column == self._columns:
            self._move_down()
        line = self.lines[self._row]
        line.extend([(" ", _PLAIN)] * (self._column + 1 - len(line)))
        line[self._column] = (character, self._style)
        self._column += 1

    def _move_down(self) -> None:
        self._row, self._column = self._row + 1, 0
        if self._row == len(self.lines):
            self.lines.append([])

    def _control(self, final: str, parameters: str) -> None:
        line = self.lines[self._row]
        if final == "m":
            for code in re.findall(r"\d+", _EXTENDED_COLOR.sub("", parameters or "0")):
                self._style = _change_style(self._style, int(code))
        elif final == "K" and parameters in ("", "0", "2"):
            del line[0 if parameters == "2" else self._column :]
        elif final == "J" and parameters in ("", "0"):
            del line[self._column :], self.lines[self._row + 1 :]
        elif final == "A":
            self._row = max(0, self._row - int(parameters or 1))
        elif final == "G":
            self._column = int(parameters or 1) - 1
        elif not parameters.startswith("?"):  # such as showing the cursor, which a picture has not
            raise ValueError(f"the terminal does not know the sequence ESC[{parameters}{final}")

    def read_lines(self) -> list[list[Cell]]:
        """Return the lines without blanks at their ends, and without blank lines at the end."""
        lines = [_strip(line) for line in self.lines]
        while lines and not lines[-1]:
            lines.pop()
        return lines


def read_text(lines: list[list[Cell]]) -> str:
    """Return lines without their styles."""
    return "".join("".join(character for character, _ in line) + "\n" for line in lines)


def _strip(line: list[Cell]) -> list[Cell]:
    end = len(line)
    while end and line[end - 1][0] == " ":
        end -= 1
    return line[:end]


def _change_style(style: Style, code: int) -> Style:
    if code == 0:
        return _PLAIN
    if code in (1, 2):
        return style | {"bold" if code == 1 else "dim"}
    if code == 22:
        return style - {"bold", "dim"}
    without_color = style - {*_COLORS}
    if code == 39:
        return without_color
    if 30 <= code <= 37 or 90 <= code <= 97:
        return without_color | {_COLORS[code % 10]}
    return style
