"""``tfimm-resolver prune``: removes what the cache does not need."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

import click

from tfimm_resolver._util.terminal import is_terminal
from tfimm_resolver._util.text import format_count, format_size
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output, format_age, format_table, style
from tfimm_resolver.maintenance import pruning
from tfimm_resolver.maintenance.pruning import PruneResult

_NOUNS = {"model": "model", "replaced copy": "replaced copy", "partial download": "unfinished download"}


@click.command(short_help="Remove unneeded files, and models until the cache's limits hold.")
@click.option("--max-size", metavar="SIZE", help="Size of the cache, such as 50GB, or 20% of the disk.")
@click.option("--max-age", metavar="TIME", help="How long a model may be unused, such as 90d.")
@click.option("--keep", multiple=True, metavar="MODEL", help="Spare this model; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask on a terminal.")
@common
@click.pass_obj
def command(output: Output, max_size: str | None, max_age: str | None, keep: Sequence[str], dry_run: bool, yes: bool) -> int:
    """Remove unfinished downloads, replaced copies, and models until the limits hold; the least recently used first.

    The limits are those of the options, else of TFIMM_RESOLVER_MAX_SIZE, TFIMM_RESOLVER_MIN_FREE and TFIMM_RESOLVER_MAX_AGE.
    A model that a process uses, that was used within the last hour, or that is kept, is not removed.
    """
    needs_answer = not (dry_run or yes or output.as_json) and is_terminal(sys.stdin) and is_terminal(sys.stderr)
    result = pruning.prune(max_size=max_size, max_age=max_age, keep=keep, dry_run=dry_run or needs_answer)
    if needs_answer and result.removed:
        _print(output, result)
        if not click.confirm("Remove this?", err=True):
            return 0
        result = pruning.prune(max_size=max_size, max_age=max_age, keep=keep)
    if output.as_json:
        output.print_json(result.facts())
    else:
        _print(output, result)
    return 0


def _print(output: Output, result: PruneResult) -> None:
    if output.is_quiet:
        for item in result.removed:
            output.print_line(item.name)
        return
    rows = [
        [item.name, *[f"({_NOUNS[item.kind]})"] * (item.kind != "model"), f"{format_size(item.size_bytes):>7}"]
        for item in result.removed
    ]
    names = [" ".join(row[:-1]) for row in rows]
    used = [style(f"used {format_age(item.used_s)}", dim=True) for item in result.removed]
    table = [[name, row[-1], age] for name, row, age in zip(names, rows, used, strict=True)]
    for line in format_table(table) if table else []:
        output.print_line(line)
    output.print_message(_format_summary(result))


def _format_summary(result: PruneResult) -> str:
    counts = Counter(item.kind for item in result.removed)
    what = " and ".join(_format_count(counts[kind], _NOUNS[kind]) for kind in _NOUNS if counts[kind]) or "nothing"
    verb = "would remove" if result.is_dry_run else "removed"
    size = f", {format_size(result.freed_bytes)}" * bool(result.removed)
    spared = ", ".join(f"{count} {reason}" for reason, count in sorted(result.spared.items()))
    lines = [f"{verb} {what}{size}: {format_size(result.before_bytes)} -> {format_size(result.after_bytes)}"]
    lines += [f"  spared: {spared}"] * bool(spared)
    lines += [f"  {format_size(result.missing_bytes)} over the limit"] * bool(result.missing_bytes)
    lines += ["  nothing was removed (dry run)"] * result.is_dry_run
    return "\n".join(lines)


def _format_count(number: int, noun: str) -> str:
    plural = noun.removesuffix("y") + "ies" if noun.endswith("y") else noun
    return f"{number} {plural}" if number > 1 and plural != noun else format_count(number, noun)
