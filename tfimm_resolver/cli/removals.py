"""What is removed, or would be, as the commands ``rm`` and ``prune`` show it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

import click

from tfimm_resolver._util.terminal import is_terminal
from tfimm_resolver._util.text import format_age, format_size, truncate_middle
from tfimm_resolver.cli.output import Output, style
from tfimm_resolver.maintenance.cache_item import CacheItem
from tfimm_resolver.resolution.cached_names import SHORTENED_MIN

NOUNS = {
    "model": ("model", "models"),
    "repository": ("hub repository", "hub repositories"),
    "weights": ("weights file", "weights files"),
    "partial download": ("unfinished download", "unfinished downloads"),
    "replaced copy": ("replaced copy", "replaced copies"),
}
MARKS = {"partial download": " (unfinished)", "replaced copy": " (replaced copy)"}

_VERBS = {"partial download": "stopped", "replaced copy": "replaced"}
_SIZE_COLUMNS, _INDENT = 9, "  "


def needs_answer(output: Output, *, yes: bool, dry_run: bool) -> bool:
    """Whether to ask before a removal: on a terminal, unless an option says otherwise."""
    return not (yes or dry_run or output.as_json) and is_terminal(sys.stdin) and is_terminal(sys.stderr)


def confirm() -> bool:
    """Ask on the terminal whether what was shown is to be removed."""
    return click.confirm("Remove this?", err=True)


def print_removals(
    output: Output, items: Sequence[CacheItem], *, is_dry_run: bool, has_question: bool = False, closing: Sequence[str] = ()
) -> None:
    """Print what is removed, or would be: a line for each item on stdout, the sums on stderr.

    ``has_question``: the question whether to remove them follows, so that this is not called a dry run.
    """
    if output.is_quiet:
        for item in items:
            output.print_line(item.name)
        return
    output.print_message(format_head(items, is_dry_run=is_dry_run))
    output.print_table(_format_rows(items, output.get_width()))
    sentences = [*closing, *["Nothing was removed (dry run)."] * (is_dry_run and not has_question)]
    if sentences:
        output.print_message("  ".join(sentences))


def format_head(items: Sequence[CacheItem], *, is_dry_run: bool) -> str:
    """Return ``Would remove 1 model and 1 unfinished download, 66 MB:``."""
    verb = "Would remove" if is_dry_run else "Removed"
    if not items:
        return f"{verb} nothing."
    return f"{verb} {format_counts(items)}, {format_size(sum(item.size_bytes for item in items))}:"


def format_counts(items: Sequence[CacheItem]) -> str:
    """Return how many items of each kind there are: ``2 models and 1 unfinished download``."""
    counts = Counter(item.kind for item in items)
    parts = [format_kind(kind, counts[kind]) for kind in NOUNS if counts[kind]]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def format_kind(kind: str, count: int) -> str:
    """Return a count with the noun of a kind: ``1 model``, ``2 hub repositories``."""
    return f"{count} {NOUNS[kind][count != 1]}"


def _format_rows(items: Sequence[CacheItem], columns: int | None) -> list[list[str]]:
    ages = [_format_age(item) for item in items]
    indent = _INDENT * (columns is not None)
    others = len(indent) + _SIZE_COLUMNS + 2 + max(map(len, ages), default=0)
    return [
        [
            indent + _format_name(item, columns and columns - others),
            f"{format_size(item.size_bytes):>7}",
            style(age, dim=True),
        ]
        for item, age in zip(items, ages, strict=True)
    ]


def _format_name(item: CacheItem, columns: int | None) -> str:
    mark = MARKS.get(item.kind, "")
    return truncate_middle(item.name, columns and max(SHORTENED_MIN, columns - len(mark))) + mark


def _format_age(item: CacheItem) -> str:
    age = format_age(item.used_s)
    return f"{_VERBS.get(item.kind, 'used')} {age}" if age else ""
