"""Tests of the terminal that recorded sessions are shown on."""

from __future__ import annotations

import pytest

from tools.terminal.drawing import draw
from tools.terminal.screen import Screen, read_text


def show(text: str, columns: int = 10) -> str:
    """Return what a terminal shows after it received a text."""
    screen = Screen(columns)
    screen.write(text)
    return read_text(screen.read_lines())


@pytest.mark.parametrize(
    ("received", "shown"),
    [
        ("one\r\ntwo\r\n\r\n", "one\ntwo\n"),
        ("half \r\x1b[2Kfull\r\n", "full\n"),
        ("a\r\nb\r\n\x1b[1A\x1b[2K\x1b[1A\x1b[2Kc\r\n", "c\n"),
        ("0123456789abc\r\nd", "0123456789\nabc\nd\n"),
        ("0123456789\r\nd", "0123456789\nd\n"),
        ("long\rx\x1b[K", "x\n"),
        ("one\r\ntwo\x1b[1A\x1b[2G\x1b[Jx\r\n", "ox\n"),
        ("\x1b[?25l\x1b]0;title\x07a\x1b[1;31mb\x1b[0mc", "abc\n"),
    ],
)
def test_a_terminal_shows_what_is_left_at_the_end(received: str, shown: str) -> None:
    assert show(received) == shown


def test_a_sequence_that_is_not_known_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"ESC\[3J"):
        show("\x1b[3J")


def test_a_colour_of_many_is_left_out() -> None:
    screen = Screen(20)
    screen.write("\x1b[1;38;5;31mbold\x1b[0;48;2;31;32;33mplain")
    assert [style for _, style in screen.read_lines()[0]] == [{"bold"}] * 4 + [set()] * 5


def test_styles_become_classes_and_text_is_escaped() -> None:
    screen = Screen(20)
    screen.write("\x1b[1;31mbad\x1b[39m <b>\x1b[0m & \x1b[90mgrey\x1b[0m")
    picture = draw(screen.read_lines(), 'a "b" <c>', 20)
    assert 'class="bold red">bad<' in picture and 'class="bold">&lt;b&gt;<' in picture
    assert ">&amp;</text>" in picture and 'class="black">grey<' in picture
    assert '<title>a "b" &lt;c&gt;</title>' in picture and "aria-label='a \"b\" &lt;c&gt;'" in picture
