"""``tfimm-resolver demo``: a demonstration that needs no network."""

from __future__ import annotations

import click

from tfimm_resolver._util.text import truncate_middle
from tfimm_resolver.cli import demo
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output, format_table, style, suppress_native_stderr

_WITHOUT_TENSORFLOW = "TensorFlow is not installed. With it, this also loads and runs the model."
_NEXT = (
    "Next:",
    "  tfimm-resolver resolve HANDLE    the path of a model: a URL, hf://… or gs://…",
    "  tfimm-resolver add NAME HANDLE   give it a name and a pin, for a project",
    "  tfimm-resolver ls                what is cached",
    "  tfimm-resolver COMMAND --help    examples of each command",
)


@click.command(short_help="Show what this package does with a small example model.")
@common
@click.pass_obj
def command(output: Output) -> int:
    """Serve a small SavedModel on loopback, resolve, damage, repair, load and run it, and remove everything again.

    Without TensorFlow, everything but loading is shown. No network is needed, and none of your settings are used.
    """
    with suppress_native_stderr():
        steps = demo.run()
    if output.as_json:
        output.print_json({"steps": [step.facts() for step in steps]})
        return 0
    columns = output.get_width()
    width = columns and columns - 42
    head = [style(cell, bold=True) for cell in ("STEP", "RESULT", "BYTES", "        TIME")]
    for line in format_table(
        [
            head,
            *(
                [step.name, truncate_middle(step.result, width), step.format_download(), f"{step.seconds * 1000:9.2f} ms"]
                for step in steps
            ),
        ]
    ):
        output.print_line(line)
    for line in _NEXT if any(step.name.startswith("load") for step in steps) else (_WITHOUT_TENSORFLOW, *_NEXT):
        output.print_message(line)
    return 0
