"""``tfimm-resolver unkeep``: lets models be evicted again."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_cached
from tfimm_resolver.cli.output import Output
from tfimm_resolver.maintenance import pruning


@click.command(short_help="Let models be evicted again.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_cached)
@common
@click.pass_obj
def command(output: Output, models: Sequence[str]) -> int:
    """Undo `keep`: let limits of the cache and `prune` remove these models again.

    MODEL is a name that the command `ls` prints, a handle, or the first six or more digits of the sha1 of its directory.
    """
    selected = pruning.unkeep(models)
    if output.as_json:
        output.print_json({"models": [model.facts() for model in selected]})
    else:
        for model in selected:
            output.print_message(f"no longer kept: {model.name}")
    return 0
