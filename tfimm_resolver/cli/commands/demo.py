"""``tfimm-resolver demo``: the main job, told."""

from __future__ import annotations

import click

from tfimm_resolver._util.text import truncate_middle
from tfimm_resolver.cli import demo
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output, suppress_native_stderr, table


@click.command(short_help="Resolve, load and run a small model on loopback.")
@common
@click.pass_obj
def command(screen: Output) -> int:
    """Serve a small SavedModel on loopback, resolve, load and run it; nothing of it stays."""
    with suppress_native_stderr():
        steps = demo.run()
    if screen.as_json:
        screen.facts({"steps": [step.facts() for step in steps]})
        return 0
    columns = screen.columns()
    width = columns and columns - 42
    head = [click.style(cell, bold=True) for cell in ("STEP", "RESULT", "BYTES", "        TIME")]
    for line in table(
        [
            head,
            *(
                [step.name, truncate_middle(step.result, width), step.bytes_in_words(), f"{step.seconds * 1000:9.2f} ms"]
                for step in steps
            ),
        ]
    ):
        screen.data(line)
    return 0
