"""``tfimm-resolver add``: adds a named, pinned handle to the models file."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_handle
from tfimm_resolver.cli.output import Output
from tfimm_resolver.project import add_model
from tfimm_resolver.project.add_model import AddResult


@click.command(short_help="Add a named, pinned handle to the models file.")
@click.argument("name")
@click.argument("handle", shell_complete=complete_handle)
@click.option("--alias", "aliases", multiple=True, metavar="NAME", help="Another name of the model; can be repeated.")
@click.option("--mirror", "mirrors", multiple=True, metavar="HANDLE", help="Another URL of the same archive; can be repeated.")
@click.option("--replace", is_flag=True, help="Replace the model if the name already exists.")
@common
@click.pass_obj
def command(output: Output, name: str, handle: str, aliases: Sequence[str], mirrors: Sequence[str], replace: bool) -> int:
    """Fetch HANDLE and add it to the models file as NAME, pinned to the sha256 and size of its archive.

    The models file is the first file of $TFIMM_MODELS_FILE, else the nearest tfimm-models.toml in this directory or above,
    else a new one in this directory. To require a signature, add a `signer` to the model's table there:
    `tfimm-resolver sign --help` shows how.
    """
    _print(output, add_model.add(name, handle, aliases=aliases, mirrors=mirrors, replace=replace))
    return 0


def _print(output: Output, result: AddResult) -> None:
    model = result.model
    if output.as_json:
        facts = {"name": model.name, "handle": model.handle, "sha256": model.sha256, "size_bytes": model.size_bytes}
        facts |= {"subdirectory": model.subdirectory} if model.subdirectory else {}
        output.print_json(
            {**facts, "aliases": model.aliases, "mirrors": model.mirrors, "file": model.file, "path": result.path}
        )
        return
    if output.is_quiet:
        output.print_line(model.name)
        return
    output.print_line(f"{model.name}  {model.handle}")
    if model.subdirectory:
        output.print_line(f"  subdirectory {model.subdirectory}")
    if model.sha256:
        output.print_line(f"  sha256 {model.sha256}, {format_size(model.size_bytes or 0)}")
    else:
        output.print_line("  not pinned: it is not an archive")
    output.print_line(f"  in {model.file}")
