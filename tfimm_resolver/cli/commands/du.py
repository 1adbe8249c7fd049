"""``tfimm-resolver du``: shows how much of the disk the cache uses."""

from __future__ import annotations

from collections.abc import Iterator

import click

from tfimm_resolver._util.text import format_count, format_size, truncate_middle
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output, style
from tfimm_resolver.cli.removals import MARKS, format_kind
from tfimm_resolver.maintenance.usage import CacheUsage, measure
from tfimm_resolver.resolution.cached_names import SHORTENED_MIN

_SIZE_COLUMNS = 9


@click.command(short_help="Show how much of the disk the cache uses.")
@common
@click.pass_obj
def command(output: Output) -> int:
    """Show how much of the disk the cache uses: by model, the largest first, then by kind, and in total.

    Unfinished downloads, replaced copies, and what the hub has fetched are counted; extra roots and a bucket behind the
    cache are not. With -v also roughly how often models were found and fetched, by this user on this machine.
    """
    usage = measure()
    if output.as_json:
        output.print_json(usage.facts())
    elif output.is_quiet:
        for item in usage.items:
            output.print_line(item.name)
    else:
        counts = [*_format_counters(usage)] if output.is_verbose else []
        output.print_table([*_format_rows(usage, output.get_width()), *counts])
    return 0


def _format_rows(usage: CacheUsage, columns: int | None) -> Iterator[list[str]]:
    yield [style("   SIZE", bold=True), style("MODEL", bold=True)]
    for item in usage.items:
        mark = MARKS.get(item.kind, "")
        width = columns and max(SHORTENED_MIN, columns - _SIZE_COLUMNS - len(mark))
        yield _format_row(item.size_bytes, truncate_middle(item.name, width) + mark)
    for kind, (count, size_bytes) in usage.kinds().items():
        if count:
            yield _format_row(size_bytes, format_kind(kind, count))
    if usage.named_bytes:
        yield _format_row(usage.named_bytes, "models stored under their names, which no limit counts")
    yield _format_row(usage.total_bytes, f"in total{_format_limit(usage)}")
    if usage.free_bytes is not None:
        yield _format_row(usage.free_bytes, "free on the disk")


def _format_counters(usage: CacheUsage) -> Iterator[list[str]]:
    counts = usage.counters
    fetched, found = format_count(counts.misses, "time"), format_count(counts.hits, "time")
    yield _format_row(
        counts.fetched_bytes, f"received: a model was fetched {fetched}, and found in the cache {found} (roughly)"
    )
    yield _format_row(counts.evicted_bytes, "removed by a limit of the cache")


def _format_row(size_bytes: int, text: str) -> list[str]:
    return [f"{format_size(size_bytes):>7}", text]


def _format_limit(usage: CacheUsage) -> str:
    return "" if usage.max_bytes is None else f", of {format_size(usage.max_bytes)} ({usage.max_source})"
