"""Small parts of Markdown: tables, and docstrings as paragraphs, lists and code."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

GENERATED = "<!-- Written by `make reference`: change the code instead. -->\n"

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields|Example|Examples):\n((?:(?:    .*)?\n?)+)", re.MULTILINE)
_CODE_WITH_BAR = re.compile(r"`([^`]*\|[^`]*)`")
_ITEM = re.compile(r"^(\*{0,2}\w[\w., ]*?): ", re.MULTILINE)
_TITLES = {"Args": "Arguments", "Attributes": "Attributes", "Raises": "Errors", "Returns": "Returns", "Yields": "Yields"}


def make_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [" | ".join(head), "|".join("---" for _ in head)]
    lines += [" | ".join(_escape_bars(cell).replace("\n", " ") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines) + "\n"


def _escape_bars(cell: str) -> str:
    """Return a cell without a bar that would end it; GitHub and Python-Markdown disagree about a backslash in code."""
    cell = _CODE_WITH_BAR.sub(lambda code: f"<code>{html.escape(code[1], quote=False)}</code>", cell)
    return cell.replace("|", "&#124;")


def convert_docstring(text: str) -> str:
    """Return a docstring in Google's style as Markdown."""
    parts, end = [], 0
    for found in _SECTION.finditer(text + "\n"):
        parts += [_convert_inline(text[end : found.start()].strip()), *_convert_section(found[1], found[2])]
        end = found.end()
    parts.append(_convert_inline(text[end:].strip()))
    return "\n\n".join(part for part in parts if part) + "\n"


def _convert_section(title: str, body: str) -> Iterator[str]:
    body = textwrap.dedent(body).strip("\n")
    if title.startswith("Example"):
        yield f"```pycon\n{body}\n```"
    elif title in ("Returns", "Yields"):
        yield f"**{_TITLES[title]}:** {_convert_inline(' '.join(body.split()))}"
    else:
        items = [" ".join(item.split()) for item in re.split(r"\n(?=\S)", body)]
        yield f"**{_TITLES[title]}**"
        yield "\n".join("- " + _convert_inline(_ITEM.sub(r"``\1``: ", item)) for item in items)


def _convert_inline(text: str) -> str:
    return re.sub(r"(?<!`)``(?!`)(.+?)``", r"`\1`", text)
