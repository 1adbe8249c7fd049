"""``tfimm-resolver add``: gives a handle a name in the models file, and pins it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output
from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.models_file import discovery
from tfimm_resolver.models_file.schema import ModelEntry, check_name
from tfimm_resolver.project import pins


@click.command(short_help="Give a handle a name in the models file, and pin it.")
@click.argument("name")
@click.argument("handle")
@click.option("--alias", "aliases", multiple=True, metavar="NAME", help="Another name for it; may be given again.")
@click.option(
    "--mirror", "mirrors", multiple=True, metavar="HANDLE", help="Where the same archive is, too; may be given again."
)
@click.option("--replace", is_flag=True, help="Write it anew where the name is there already.")
@common
@click.pass_obj
def command(screen: Output, name: str, handle: str, aliases: Sequence[str], mirrors: Sequence[str], replace: bool) -> int:
    """Fetch HANDLE, and write it as NAME into the models file, with its archive's sha256 and size.

    The file is the first of $TFIMM_MODELS_FILE, the nearest tfimm-models.toml upwards, or a new one here.
    """
    file = pins.file_to_change()
    for word in (name, *aliases):
        check_name(word)
    asked = Handle.parse(inventory.handle_of(handle))
    texts = [pins.handle_as_written(place, file) for place in (asked, *map(Handle.parse, mirrors))]
    pins.check_new(discovery.read(file) if os.path.exists(file) else {}, name, replaces=replace)
    path, origin = pins.fetch_and_hash(asked, refresh=False)
    if mirrors and not origin.sha256:
        raise HandleError(f"{asked} is no archive, and has no sha256 by which a mirror's bytes could be believed")
    model = ModelEntry(name, texts[0], file, origin.sha256 or None, origin.size_bytes, tuple(aliases), tuple(texts[1:]))
    pins.add(file, model, replaces=replace)
    _show(screen, model, path)
    return 0


def _show(screen: Output, model: ModelEntry, path: str) -> None:
    if screen.as_json:
        facts = {"name": model.name, "handle": model.handle, "sha256": model.sha256, "size_bytes": model.size_bytes}
        screen.facts({**facts, "aliases": model.aliases, "mirrors": model.mirrors, "file": model.file, "path": path})
        return
    screen.data(f"{model.name}  {model.handle}")
    if model.sha256:
        screen.data(f"  sha256 {model.sha256}, {format_size(model.size_bytes or 0)}")
    else:
        screen.data("  not pinned: it is no archive")
    screen.data(f"  in {model.file}")
