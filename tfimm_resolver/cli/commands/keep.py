"""``tfimm-resolver keep``: keeps models from being evicted."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_cached
from tfimm_resolver.cli.output import Output
from tfimm_resolver.maintenance import pruning


@click.command(short_help="Never evict models from the cache.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_cached)
@common
@click.pass_obj
def command(output: Output, models: Sequence[str]) -> int:
    """Never evict these models by a limit of the cache or by `prune`; `rm` still removes them.

    MODEL is a name that the command `ls` prints, a handle, or the first six or more digits of the sha1 of its directory.
    """
    selected = pruning.keep(models)
    if output.as_json:
        output.print_json({"models": [model.facts() for model in selected]})
    else:
        for model in selected:
            output.print_message(f"kept: {model.name}")
    return 0
