"""``tfimm-resolver load``: what a model takes and gives, and where its variables live."""

from __future__ import annotations

import click

from tfimm_resolver import listing, loading
from tfimm_resolver.commands import common
from tfimm_resolver.resolver import resolve
from tfimm_resolver.screen import Screen, hushed, on_device, table


@click.command()
@click.argument("handle")
@common
@click.pass_obj
def command(screen: Screen, handle: str) -> int:
    """Load a model; print its signatures, and where its variables live."""
    path = resolve(listing.handle_of(handle))  # with its progress, before stderr is hushed
    with hushed():
        facts = loading.describe(loading.load(path))
    if screen.as_json:
        screen.facts({"handle": handle, "path": path, **facts})
        return 0
    for name, signature in facts["signatures"].items():
        screen.data(click.style(name, bold=True))
        rows = [
            [f"  {side}", tensor["name"], tensor["dtype"], _shape(tensor["shape"])]
            for side in signature
            for tensor in signature[side]
        ]
        for line in table(rows) if rows else ():
            screen.data(line)
    if not facts["signatures"]:
        screen.say("it has no signatures")
    for place in facts["variables"]:
        screen.data(on_device(place))
    return 0


def _shape(shape: list[int | None] | None) -> str:
    return "<unknown>" if shape is None else f"({', '.join('None' if size is None else str(size) for size in shape)})"
