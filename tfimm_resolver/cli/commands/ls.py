"""``tfimm-resolver ls``: lists the cached models."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tfimm_resolver._util.text import format_age, format_size, truncate_middle
from tfimm_resolver.cli.commands import common, format_command
from tfimm_resolver.cli.output import Output, format_bar, style, style_state
from tfimm_resolver.maintenance import inventory, views
from tfimm_resolver.maintenance.cached_model import CachedModel
from tfimm_resolver.maintenance.filters import SORTS
from tfimm_resolver.resolution.cached_names import SHORTENED_MIN

_PLAIN_COLUMNS, _USE_COLUMNS, _BAR_COLUMNS = 23, 12, 14


@click.command(short_help="List the cached models and their state.")
@click.option(
    "--sort",
    type=click.Choice([*SORTS]),
    default="name",
    show_default=True,
    help="By name, the largest first, or the one that was not used for longest first.",
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="FILTER",
    help="Only what matches: 'used>30d', 'size>1GB', state=damaged, kind=model, 'name=google/*' or kept. "
    "`!` before a filter reverses it; several must all match.",
)
@common
@click.pass_obj
def command(output: Output, sort: str, filters: Sequence[str]) -> int:
    """List the cached models: size, last use and state; also the repositories and weights that the hub has fetched.

    The state is `ok` if every file has its recorded size, `damaged` if not, and `unverified` if no sizes were recorded.
    The command `verify` compares hashes as well. Quote filters that contain `<` or `>`.
    """
    models = inventory.list_models(filters=filters, sort=sort)
    if output.as_json:
        output.print_json({"models": [model.facts() for model in models]})
    elif output.is_quiet:
        for model in models:
            output.print_line(model.name)
    else:
        output.print_table(_format_rows(models, output.get_width()))
        _print_summary(output, models)
    return 0


def _format_rows(models: Sequence[CachedModel], columns: int | None) -> list[list[str]]:
    """Return the rows of the table; a narrow terminal loses the bar first, then the last use, then parts of the names."""
    longest = max((len(model.name) for model in models), default=0)
    plain = _PLAIN_COLUMNS + max((len(views.format_mark(model)) for model in models), default=0)
    has_bar = columns is not None and columns >= longest + plain + _USE_COLUMNS + _BAR_COLUMNS
    has_use = columns is None or columns >= longest + plain + _USE_COLUMNS
    width = columns and max(SHORTENED_MIN, columns - plain - _USE_COLUMNS * has_use - _BAR_COLUMNS * has_bar)
    largest = max((model.size_bytes for model in models), default=0)
    head = ["MODEL", "   SIZE", *[""] * has_bar, *["USED"] * has_use, "STATE"]
    rows = [[style(cell, bold=True) if cell else "" for cell in head]]
    for model in models:
        rows.append(
            [
                truncate_middle(model.name, width),
                f"{format_size(model.size_bytes):>7}",
                *[format_bar(model.size_bytes, largest)] * has_bar,
                *[style(format_age(model.used_s), dim=True)] * has_use,
                style_state(model.state) + style(views.format_mark(model), dim=True),
            ]
        )
    return rows


def _print_summary(output: Output, models: Sequence[CachedModel]) -> None:
    damaged = views.count_damaged(models)
    repair = f"; {damaged} damaged: {format_command('verify --repair')}" if damaged else ""
    output.print_summary(f"{views.summarize_models(models)}{repair}")
