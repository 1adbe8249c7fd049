"""``tfimm-resolver rm``: removes models from the cache."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output
from tfimm_resolver.errors import CacheError
from tfimm_resolver.maintenance import inventory


@click.command(short_help="Remove models from the cache.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@common
@click.pass_obj
def command(output: Output, models: Sequence[str]) -> int:
    """Remove models from the cache.

    MODEL is a name that the command `ls` prints, a handle, or the first six or more digits of the sha1 of its directory.
    """
    selected = inventory.select(models)
    removable = [model for model in selected if not model.is_read_only]
    for model in selected:
        if model.entry is None:
            raise CacheError(
                f"{show(model.path)} was not created by tfimm-resolver, so it is not removed",
                fix="Remove the directory yourself.",
            )
        if model.entry.name not in [other.entry.name for other in removable if other.entry]:
            raise CacheError(
                f"{show(model.name)} is in {show(model.other_root)}, an extra root, which is read-only",
                fix="Ask the owner of that root to remove it. TFIMM_RESOLVER_EXTRA_ROOTS lists the extra roots.",
            )
    for model in {
        model.name: model for model in reversed(removable)
    }.values():  # a model may be in the local cache and in the bucket
        inventory.remove(model)
        if not output.as_json:
            output.print_message(f"removed {model.name}, {format_size(model.size_bytes)}")
    if output.as_json:
        output.print_json({"removed": [model.facts() for model in removable]})
    return 0
