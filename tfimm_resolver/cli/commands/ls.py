"""``tfimm-resolver ls``: what is cached."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tfimm_resolver import settings
from tfimm_resolver._util.text import format_size, truncate_middle
from tfimm_resolver.cli.commands import common, format_command
from tfimm_resolver.cli.output import Output, count, format_age, format_bar, state, table
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.maintenance.inventory import CachedModel

_EXTRA, _BUCKET = " (extra)", " (bucket)"
_PLAIN_COLUMNS, _USE_COLUMNS, _BAR_COLUMNS = 23, 12, 14


@click.command()
@common
@click.pass_obj
def command(screen: Output) -> int:
    """List what is cached, and whether its files are there."""
    models = inventory.list_models()
    if screen.as_json:
        screen.facts({"models": [model.facts() for model in models]})
    elif screen.is_quiet:
        for model in models:
            screen.data(model.name)
    else:
        for line in table(_rows(models, screen.columns())):
            screen.data(line)
        _sum_up(screen, models)
    return 0


def _rows(models: Sequence[CachedModel], columns: int | None) -> list[list[str]]:
    """Where a terminal is narrow the bar goes first, then the time of use; then names are cut, there only."""
    longest = max((len(model.name) for model in models), default=0)
    plain = _PLAIN_COLUMNS + max((len(_mark(model)) for model in models), default=0)
    has_bar = columns is not None and columns >= longest + plain + _USE_COLUMNS + _BAR_COLUMNS
    has_use = columns is None or columns >= longest + plain + _USE_COLUMNS
    width = columns and max(12, columns - plain - _USE_COLUMNS * has_use - _BAR_COLUMNS * has_bar)
    largest = max((model.size_bytes for model in models), default=0)
    head = ["MODEL", "   SIZE", *[""] * has_bar, *["USED"] * has_use, "STATE"]
    rows = [[click.style(cell, bold=True) if cell else "" for cell in head]]
    for model in models:
        rows.append(
            [
                truncate_middle(model.name, width),
                f"{format_size(model.size_bytes):>7}",
                *[format_bar(model.size_bytes, largest)] * has_bar,
                *[click.style(format_age(model.used_s), dim=True)] * has_use,
                state(model.state) + click.style(_mark(model), dim=True),
            ]
        )
    return rows


def _sum_up(screen: Output, models: Sequence[CachedModel]) -> None:
    ours = [model for model in models if not model.lender]
    damaged = sum(model.state == "damaged" for model in ours)
    size_bytes = sum(model.size_bytes for model in ours)
    extra = sum(model.is_only_read for model in models)
    behind = len(models) - len(ours) - extra
    more = f"; {extra} in extra roots" * bool(extra) + f"; {behind} in {settings.urls_root().value}" * bool(behind)
    mend = f"; {damaged} damaged: {format_command('verify --repair')}" if damaged else ""
    screen.sum(f"{count(len(ours), 'model')}, {format_size(size_bytes)} in {settings.cache_root().value}{more}{mend}")


def _mark(model: CachedModel) -> str:
    return "" if not model.lender else _EXTRA if model.is_only_read else _BUCKET
