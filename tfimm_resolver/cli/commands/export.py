"""``tfimm-resolver export``: models in one file, for a machine without network."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from tfimm_resolver._util.terminal import is_terminal
from tfimm_resolver._util.text import format_size
from tfimm_resolver.bundles import writer
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output, count


@click.command(short_help="Put models into one file, for a machine without network.")
@click.argument("handles", nargs=-1, required=True, metavar="HANDLE...")
@click.option("-o", "--output", "output", required=True, metavar="FILE", help="The bundle; - for stdout.")
@common
@click.pass_obj
def command(screen: Output, handles: Sequence[str], output: str) -> int:
    """Put models, each verified, into a bundle for `import`; what is not cached is fetched. Prints the bundle's sha256."""
    if output != "-":
        written = writer.write(handles, output)
    elif screen.as_json or is_terminal(sys.stdout):
        raise click.UsageError("-o - writes the bundle to stdout, which is a terminal or wanted for JSON")
    else:
        written = writer.write(handles, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    if screen.as_json:
        models = [model.facts() for model in written.models]
        screen.facts({"bundle": output, "sha256": written.sha256, "size_bytes": written.size_bytes, "models": models})
        return 0
    tell = screen.say if output == "-" else screen.data
    tell(f"{written.sha256}  {output}")  # as sha256sum -c reads it
    screen.sum(f"{count(len(written.models), 'model')}, {format_size(written.size_bytes)}")
    return 0
