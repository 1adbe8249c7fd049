"""``tfimm-resolver sbom``: prints a bill of materials of models."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tfimm_resolver import settings
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_file, complete_handle
from tfimm_resolver.cli.output import Output
from tfimm_resolver.maintenance import sbom
from tfimm_resolver.maintenance.text_files import write_text


@click.command(short_help="Print a bill of materials of models, CycloneDX 1.6.")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_handle)
@click.option(
    "-o", "--output", "path", metavar="FILE", shell_complete=complete_file, help="File to write; by default it is printed."
)
@common
@click.pass_obj
def command(output: Output, names: Sequence[str], path: str | None) -> int:
    """Print a bill of materials, CycloneDX 1.6 as JSON, of the named models; by default those of the models file, else all.

    It lists handles, versions, licences, signers, and files with their hashes; the same models give the same bytes.
    """
    if path is not None and path != "-":
        settings.check_output_path(path)
    text = sbom.make_sbom(names)
    if path is None or path == "-":
        for line in text.rstrip("\n").split("\n"):
            output.print_line(line)
        return 0
    write_text(path, text)
    if output.as_json:
        output.print_json({"sbom": path})
    else:
        output.print_path(path)
    return 0
