"""``tfimm-resolver add``: adds a named, pinned handle to the models file."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output
from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.models_file import discovery
from tfimm_resolver.models_file.schema import ModelEntry, check_name
from tfimm_resolver.project import pins


@click.command(short_help="Add a named, pinned handle to the models file.")
@click.argument("name")
@click.argument("handle")
@click.option("--alias", "aliases", multiple=True, metavar="NAME", help="Another name of the model; can be repeated.")
@click.option("--mirror", "mirrors", multiple=True, metavar="HANDLE", help="Another URL of the same archive; can be repeated.")
@click.option("--replace", is_flag=True, help="Replace the model if the name already exists.")
@common
@click.pass_obj
def command(output: Output, name: str, handle: str, aliases: Sequence[str], mirrors: Sequence[str], replace: bool) -> int:
    """Fetch HANDLE and add it to the models file as NAME, pinned to the sha256 and size of its archive.

    The models file is the first file of $TFIMM_MODELS_FILE, else the nearest tfimm-models.toml in this directory or above,
    else a new one in this directory.
    """
    file = pins.choose_file()
    for new_name in (name, *aliases):
        check_name(new_name)
    requested = Handle.parse(handle)
    texts = [pins.format_handle(one, file) for one in (requested, *map(Handle.parse, mirrors))]
    pins.check_new(discovery.read_entries(file) if os.path.exists(file) else {}, name, replaces=replace)
    path, origin = pins.fetch_and_hash(requested, refresh=False)
    if mirrors and not origin.sha256:
        raise HandleError(f"{requested} is not an archive, so it has no sha256 to check the bytes of a mirror with")
    model = ModelEntry(name, texts[0], file, origin.sha256 or None, origin.size_bytes, tuple(aliases), tuple(texts[1:]))
    pins.add(file, model, replaces=replace)
    _print(output, model, path)
    return 0


def _print(output: Output, model: ModelEntry, path: str) -> None:
    if output.as_json:
        facts = {"name": model.name, "handle": model.handle, "sha256": model.sha256, "size_bytes": model.size_bytes}
        output.print_json({**facts, "aliases": model.aliases, "mirrors": model.mirrors, "file": model.file, "path": path})
        return
    output.print_line(f"{model.name}  {model.handle}")
    if model.sha256:
        output.print_line(f"  sha256 {model.sha256}, {format_size(model.size_bytes or 0)}")
    else:
        output.print_line("  not pinned: it is not an archive")
    output.print_line(f"  in {model.file}")
