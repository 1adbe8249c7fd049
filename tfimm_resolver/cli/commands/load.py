"""``tfimm-resolver load``: what a model takes and gives, and where its variables live."""

from __future__ import annotations

import click

from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output, format_device, suppress_native_stderr, table
from tfimm_resolver.loading import loader
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.resolution.resolver import resolve


@click.command()
@click.argument("handle")
@common
@click.pass_obj
def command(screen: Output, handle: str) -> int:
    """Load a model; print its signatures, and where its variables live."""
    path = resolve(inventory.handle_of(handle))  # with its progress, before stderr is hushed
    with suppress_native_stderr():
        facts = loader.describe(loader.load(path))
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
        screen.data(format_device(place))
    return 0


def _shape(shape: list[int | None] | None) -> str:
    return "<unknown>" if shape is None else f"({', '.join('None' if size is None else str(size) for size in shape)})"
