"""``tfimm-resolver prune``: removes what the cache does not need."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli import removals
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_cached
from tfimm_resolver.cli.exit_codes import EXIT_DECLINED
from tfimm_resolver.cli.output import Output
from tfimm_resolver.maintenance import pruning
from tfimm_resolver.maintenance.pruning import PruneResult


@click.command(short_help="Remove unneeded files, and models until the cache's limits hold.")
@click.option("--max-size", metavar="SIZE", help="Size of the cache, such as 50GB, or 20% of the disk.")
@click.option("--max-age", metavar="TIME", help="How long a model may be unused, such as 90d.")
@click.option(
    "--keep", multiple=True, metavar="MODEL", shell_complete=complete_cached, help="Spare this model; may be repeated."
)
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask on a terminal.")
@common
@click.pass_obj
def command(output: Output, max_size: str | None, max_age: str | None, keep: Sequence[str], dry_run: bool, yes: bool) -> int:
    """Remove unfinished downloads, replaced copies, and models until the limits hold; the least recently used first.

    The limits are those of the options, else of TFIMM_RESOLVER_MAX_SIZE, TFIMM_RESOLVER_MIN_FREE and TFIMM_RESOLVER_MAX_AGE,
    else of max_size, min_free and max_age in config.toml.
    A model that a process uses, that was used within the last hour, or that `keep` protects, is not removed.
    If the limits cannot be met for that reason, the last line says by how much (`missing_bytes` in JSON); the exit code
    is 0. Repositories and weights of the hub count as models.
    """
    plan = pruning.PrunePlan(max_size=max_size, max_age=max_age, keep=keep)
    must_confirm = removals.needs_answer(output, yes=yes, dry_run=dry_run) and bool(plan.preview().removed)
    if must_confirm:
        preview = plan.preview()
        removals.print_removals(output, preview.removed, is_dry_run=True, has_question=True, closing=_format_closing(preview))
        if not removals.confirm():
            return EXIT_DECLINED
    result = plan.preview() if dry_run else plan.execute()
    if output.as_json:
        output.print_json(result.facts())
    else:
        removals.print_removals(output, result.removed, is_dry_run=dry_run, closing=_format_closing(result))
    return 0


def _format_closing(result: PruneResult) -> list[str]:
    spared = ", ".join(f"{count} {reason}" for reason, count in sorted(result.spared.items()))
    sentences = [f"Kept: {spared}."] * bool(spared)
    sentences.append(f"{format_size(result.before_bytes)} -> {format_size(result.after_bytes)}.")
    if result.missing_bytes:
        sentences.append(f"Still {format_size(result.missing_bytes)} over the limit.")
    return sentences
