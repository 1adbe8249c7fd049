"""``tfimm-resolver rm``: removes models from the cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tfimm_resolver.cli import removals
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_cached
from tfimm_resolver.cli.exit_codes import EXIT_DECLINED
from tfimm_resolver.cli.output import Output, error_to_json
from tfimm_resolver.maintenance import inventory, removal
from tfimm_resolver.maintenance.cache_item import CacheItem
from tfimm_resolver.maintenance.removal import RemoveResult


@click.command(short_help="Remove models from the cache.")
@click.argument("models", nargs=-1, metavar="[MODEL]...", shell_complete=complete_cached)
@click.option("--all", "all_", is_flag=True, help="Remove every model, and the hub's repositories and weights.")
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask on a terminal.")
@click.option("--force", is_flag=True, help="Also if it was used lately, where no locks tell whether it is in use.")
@common
@click.pass_obj
def command(output: Output, models: Sequence[str], all_: bool, dry_run: bool, yes: bool, force: bool) -> int:
    """Remove models from the cache, and repositories and weights that the hub has fetched; on a terminal, ask before.

    MODEL is a name that the command `ls` prints, a handle, or the first six or more digits of the sha1 of its directory.
    What a process uses is not removed. Limits of the cache and `keep` do not matter here.
    """
    if bool(models) == all_:
        raise click.UsageError("Give the names of models, or --all.")
    must_confirm = removals.needs_answer(output, yes=yes, dry_run=dry_run)
    if all_ and not (yes or dry_run or must_confirm):
        raise click.UsageError("--all needs -y without a terminal to ask on.")
    plan = removal.RemovalPlan(removal.list_removable() if all_ else inventory.select(models), force=force)
    if must_confirm:
        preview = plan.preview()
        if any(result.error is None for result in preview):
            _print(output, preview, is_dry_run=True, has_question=True)
            if not removals.confirm():
                return EXIT_DECLINED
    results = plan.preview() if dry_run else plan.execute()
    errors = [result.error for result in results if result.error]
    if output.as_json:
        output.print_json(_to_json(results, is_dry_run=dry_run))
    else:
        _print(output, results, is_dry_run=dry_run)
    return errors[0].exit_code if errors else 0


def _to_json(results: Sequence[RemoveResult], *, is_dry_run: bool) -> dict[str, Any]:
    removed = [{**result.model.facts(), "freed_bytes": result.freed_bytes} for result in results if not result.error]
    errors = [error_to_json(result.error) for result in results if result.error]
    freed_bytes = sum(result.freed_bytes for result in results)
    facts = {"removed": removed, "freed_bytes": freed_bytes, "dry_run": is_dry_run}
    return {**facts, **({"error": errors[0]} if errors else {})}


def _print(output: Output, results: Sequence[RemoveResult], *, is_dry_run: bool, has_question: bool = False) -> None:
    items = [_to_item(result) for result in results if not result.error]
    removals.print_removals(output, items, is_dry_run=is_dry_run, has_question=has_question)
    for error in dict.fromkeys(result.error for result in results if result.error):
        output.print_error(error)


def _to_item(result: RemoveResult) -> CacheItem:
    model = result.model
    name = model.name + f" ({model.other_root})" * bool(model.other_root)
    return CacheItem(name, model.kind, model.path, result.freed_bytes, model.used_s)
