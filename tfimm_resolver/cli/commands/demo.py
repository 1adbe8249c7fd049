"""``tfimm-resolver demo``: a demonstration that needs no network."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

import click

from tfimm_resolver._util.text import truncate_middle
from tfimm_resolver.cli import demo
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.demo import Step
from tfimm_resolver.cli.output import Output, style, suppress_native_stderr

_WITHOUT_TENSORFLOW = "TensorFlow is not installed. With it, this also loads and runs the model."
_NEXT = (
    ("resolve HANDLE", "the path of a model: a URL, hf://… or gs://…"),
    ("add NAME HANDLE", "give it a name and a pin, for a project"),
    ("ls", "what is cached"),
    ("COMMAND --help", "examples of each command"),
)
_COLUMNS, _RESULT_MIN = 80, 16
_GAP, _SIZE_COLUMNS, _TIME_COLUMNS = 2, 6, 12


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
    if output.is_quiet:
        for step in steps:
            output.print_line(step.result)
        return 0
    output.print_table(_format_rows(steps, output.get_width()))
    for line in _list_next(steps, output.get_width()):
        output.print_message(line)
    return 0


def _format_rows(steps: Sequence[Step], columns: int | None) -> list[list[str]]:
    """Return the rows of the table; a narrow terminal loses the sizes first, then the times, then parts of the results."""
    rest = None if columns is None else columns - max(len(step.name) for step in steps) - _GAP
    has_time = rest is None or rest >= _RESULT_MIN + _GAP + _TIME_COLUMNS
    has_size = rest is None or rest >= _RESULT_MIN + 2 * _GAP + _TIME_COLUMNS + _SIZE_COLUMNS
    width = rest and max(_RESULT_MIN, rest - (_GAP + _TIME_COLUMNS) * has_time - (_GAP + _SIZE_COLUMNS) * has_size)
    head = ["STEP", "RESULT", *["BYTES"] * has_size, *["        TIME"] * has_time]
    rows = [[style(cell, bold=True) for cell in head]]
    for step in steps:
        size, time = step.format_download(), f"{step.seconds * 1000:9.2f} ms"
        rows.append([step.name, truncate_middle(step.result, width), *[size] * has_size, *[time] * has_time])
    return rows


def _list_next(steps: Sequence[Step], columns: int | None) -> Iterator[str]:
    """Yield the lines below the table; on a narrow terminal, what a command does stands below it."""
    width = min(columns or _COLUMNS, _COLUMNS)
    if not any(step.name.startswith("load") for step in steps):
        yield from textwrap.wrap(_WITHOUT_TENSORFLOW, width)
    yield "Next:"
    for command_line, purpose in _NEXT:
        if width >= _COLUMNS:
            yield f"  tfimm-resolver {command_line:<17} {purpose}"
        else:
            yield f"  tfimm-resolver {command_line}"
            yield from textwrap.wrap(purpose, width, initial_indent="    ", subsequent_indent="    ")
