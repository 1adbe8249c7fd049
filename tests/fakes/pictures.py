"""Compares the pictures of recorded sessions with what the commands print now."""

from __future__ import annotations

import html
import re
from pathlib import Path

from tools.terminal.__main__ import IMAGES, main
from tools.terminal.sessions import get_picture

_BAR = re.compile(r"[━╸╺]|\bB in 0|[kM]B in [\d.]+ s")
_VARYING = re.compile(r"/tmp/\w+|\b(?=[a-f]*\d)[0-9a-f]{8,}\b|…[0-9a-f]+|\b[0-9a-f]+…")


def check_picture(name: str, folder: Path) -> None:
    """Record a session again; fail if its picture shows other text, apart from figures and progress bars."""
    main([name], folder)
    recorded, committed = (_read_lines(path / get_picture(name)) for path in (folder, IMAGES))
    assert recorded == committed, "run `make pictures`"


def _read_lines(picture: Path) -> list[list[str]]:
    """Return the words of each line of a picture, with the same figures for all."""
    text = re.sub(r"<(style|title)>.*?</\1>", "", picture.read_text(), flags=re.DOTALL)
    by_height: dict[str, str] = {}
    for y, words in re.findall(r'<text x="[^"]*" y="(\d+)"[^>]*>(.*?)</text>', text):
        by_height[y] = f"{by_height.get(y, '')} {html.unescape(words)}"
    lines = [line for line in by_height.values() if not _BAR.search(line)]
    return [re.sub(r"\d+(?:\.\d+)?", "0", _VARYING.sub("0", line)).split() for line in lines]
