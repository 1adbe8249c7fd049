"""Explanations of errors: the entries of the page "Troubleshooting", which is in the package, as text for a terminal."""

from __future__ import annotations

import inspect
import pkgutil
import posixpath
import re
import textwrap
from collections.abc import Iterator

from tfimm_resolver.cli.diagnosis import codes
from tfimm_resolver.cli.exit_codes import MEANINGS, get_code, list_classes
from tfimm_resolver.cli.usage_errors import UsageError
from tfimm_resolver.errors import ResolverError

PAGE = "troubleshooting.md"
"""Beside this file; ``make reference`` copies it to the site."""

_FOLDER = "docs/guides"
"""The directory of that copy in the repository, from which the links of the page count."""

_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#]*)(#[^)]*)?\)")
_CODE = re.compile(r"^```\w*\n(.*?)^```$\n?", re.MULTILINE | re.DOTALL)
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2})([^*\n]+)\1(?![\w*])")
_COLUMNS = 80


def find_classes(text: str) -> list[type[ResolverError]]:
    """Return the error classes of a name such as ``NotFoundError``, a code such as ``not-found``, or an exit code."""
    classes = list_classes()
    if text.isdecimal():
        return [one for one in classes if one.exit_code == int(text)]
    name = text.rpartition(".")[2].casefold().replace("-", "").removesuffix("error")
    return [one for one in (*classes, UsageError) if name == one.__name__.casefold().removesuffix("error")]


def list_names() -> list[str]:
    """Return every name, code and exit code that can be explained."""
    names = [name for one in (*list_classes(), UsageError) for name in (get_code(one), one.__name__)]
    checks = [code for each in codes.CODES for code in each]
    return [*dict.fromkeys([*names, *checks]), *map(str, MEANINGS)]


def get_text(kind: type[ResolverError]) -> str:
    """Return the entry of an error class, as Markdown; its docstring in a frozen program, which has no data files."""
    return _read_entries().get(kind.__name__) or (inspect.getdoc(kind) or "").partition("\nExample:")[0].strip()


def make_plain(text: str) -> str:
    """Return Markdown as it can be read on a terminal: links with the file they lead to, no emphasis, examples indented."""
    text = _CODE.sub(lambda found: textwrap.indent(found[1], "  "), text)
    return _EMPHASIS.sub(r"\2", _LINK.sub(_describe_link, text))


def _describe_link(found: re.Match[str]) -> str:
    """Return the text of a link, and the page in the repository; a link to an entry of the same page as its text."""
    text, page = found[1], found[2]
    if not page or page == PAGE:
        return text
    return f"{text} ({page if '://' in page else posixpath.normpath(f'{_FOLDER}/{page}')})"


def wrap(text: str, columns: int | None) -> Iterator[str]:
    """Yield the lines of a text, wrapped at ``columns``, or for a pipe at 80."""
    for block in make_plain(text).split("\n"):
        indent = "  " if block.startswith("- ") else ""
        yield from textwrap.wrap(
            block,
            max(20, min(columns or _COLUMNS, 100) - 1),
            subsequent_indent=indent,
            break_on_hyphens=False,
            break_long_words=False,
        ) or [""]


def _read_entries() -> dict[str, str]:
    """Return the text below each heading of the page."""
    try:
        data = pkgutil.get_data(__package__, PAGE)
    except OSError:
        data = None
    parts = _HEADING.split((data or b"").decode())
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}
