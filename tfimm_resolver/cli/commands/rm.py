"""``tfimm-resolver rm``: removes models from the cache."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output
from tfimm_resolver.errors import CacheError
from tfimm_resolver.maintenance import inventory


@click.command(short_help="Remove models from the cache.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@common
@click.pass_obj
def command(screen: Output, models: Sequence[str]) -> int:
    """Remove models from the cache; MODEL is what ls shows, a handle, or six digits of its sha1."""
    chosen = inventory.select(models)
    ours = [model for model in chosen if not model.is_only_read]
    for model in chosen:
        if model.entry is None:
            raise CacheError(f"{model.path} was not fetched by this command, but put there by hand", fix="Remove it by hand.")
        if model.entry.name not in [other.entry.name for other in ours if other.entry]:
            raise CacheError(
                f"{model.name} lies in {model.lender}, an extra root, which is only read",
                fix="Whoever keeps that root may remove it. TFIMM_RESOLVER_EXTRA_ROOTS names the extra roots.",
            )
    for model in {model.name: model for model in reversed(ours)}.values():  # it may lie here and in the bucket behind
        inventory.remove(model)
        if not screen.as_json:
            screen.say(f"removed {model.name}, {format_size(model.size_bytes)}")
    if screen.as_json:
        screen.facts({"removed": [model.facts() for model in ours]})
    return 0
