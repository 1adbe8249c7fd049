"""``tfimm-resolver export``: writes models into one file, for a machine without network."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from tfimm_resolver._util.terminal import is_terminal
from tfimm_resolver._util.text import format_count, format_size
from tfimm_resolver.bundles import writer
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_cached, complete_file
from tfimm_resolver.cli.output import Output


@click.command(short_help="Write models to one file, for a machine without network.")
@click.argument("handles", nargs=-1, required=True, metavar="HANDLE...", shell_complete=complete_cached)
@click.option(
    "-o",
    "--output",
    "bundle",
    required=True,
    metavar="FILE",
    shell_complete=complete_file,
    help="File of the bundle; - for stdout.",
)
@common
@click.pass_obj
def command(output: Output, handles: Sequence[str], bundle: str) -> int:
    """Write models to a bundle for `import`, and print the sha256 of the bundle.

    Every model is verified; a model that is not cached is fetched first.
    """
    if bundle == "-" and not sys.stdout.writable():
        raise click.UsageError("-o - writes the bundle to stdout, which is closed")
    if bundle != "-":
        written = writer.export(handles, bundle)
    elif output.as_json or is_terminal(sys.stdout):
        raise click.UsageError("-o - writes the bundle to stdout, so stdout cannot be a terminal, and --json cannot be used")
    else:
        written = writer.export(handles, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    if output.as_json:
        models = [model.facts() for model in written.models]
        output.print_json({"bundle": bundle, "sha256": written.sha256, "size_bytes": written.size_bytes, "models": models})
        return 0
    print_line = output.print_message if bundle == "-" else output.print_path
    print_line(f"{written.sha256}  {bundle}")  # in the format of sha256sum -c
    output.print_summary(f"{format_count(len(written.models), 'model')}, {format_size(written.size_bytes)}")
    return 0
