"""``tfimm-resolver ls``: what is cached."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tfimm_resolver import listing, settings
from tfimm_resolver.commands import common
from tfimm_resolver.listing import Model
from tfimm_resolver.progress import in_words
from tfimm_resolver.screen import Screen, ago, bar, count, cut, state, table


@click.command()
@common
@click.pass_obj
def command(screen: Screen) -> int:
    """List what is cached, and whether its files are there."""
    models = listing.models()
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


def _rows(models: Sequence[Model], columns: int | None) -> list[list[str]]:
    """Under 60 columns the bar goes first, then the time of use; names are cut on a terminal only."""
    has_bar = columns is not None and columns >= 60
    has_use = columns is None or columns >= 45
    width = None if columns is None else max(12, columns - 22 - 14 * has_bar - 12 * has_use)
    largest = max((model.size_bytes for model in models), default=0)
    head = ["MODEL", "   SIZE", *[""] * has_bar, *["USED"] * has_use, "STATE"]
    rows = [[click.style(cell, bold=True) if cell else "" for cell in head]]
    for model in models:
        rows.append(
            [
                cut(model.name, width),
                f"{in_words(model.size_bytes):>7}",
                *[bar(model.size_bytes, largest)] * has_bar,
                *[click.style(ago(model.used_s), dim=True)] * has_use,
                state(model.state),
            ]
        )
    return rows


def _sum_up(screen: Screen, models: Sequence[Model]) -> None:
    damaged = sum(model.state == "damaged" for model in models)
    size_bytes = sum(model.size_bytes for model in models)
    mend = f"; {damaged} damaged: tfimm-resolver verify --repair" if damaged else ""
    screen.sum(f"{count(len(models), 'model')}, {in_words(size_bytes)} in {settings.urls_root().value}{mend}")
