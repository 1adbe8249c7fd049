"""``tfimm-resolver rm``: removes models from the cache."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_cached
from tfimm_resolver.cli.output import Output, error_to_json
from tfimm_resolver.maintenance import removal
from tfimm_resolver.maintenance.removal import RemoveResult


@click.command(short_help="Remove models from the cache.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_cached)
@common
@click.pass_obj
def command(output: Output, models: Sequence[str]) -> int:
    """Remove models from the cache.

    MODEL is a name that the command `ls` prints, a handle, or the first six or more digits of the sha1 of its directory.
    """
    results = removal.remove(models)
    errors = [result.error for result in results if result.error]
    if output.as_json:
        removed = [result.model.facts() for result in results if not result.error]
        output.print_json({"removed": removed, **({"error": error_to_json(errors[0])} if errors else {})})
    else:
        _print(output, results)
    return errors[0].exit_code if errors else 0


def _print(output: Output, results: Sequence[RemoveResult]) -> None:
    for result in {result.model.name: result for result in reversed(results)}.values():  # one may be in the bucket, too
        if result.error:
            output.print_error(result.error)
        else:
            output.print_message(f"removed {result.model.name}, {format_size(result.model.size_bytes)}")
