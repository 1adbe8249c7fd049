"""``tfimm-resolver sync``: fetches the models of the models file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import common, jobs_option
from tfimm_resolver.cli.completion import complete_name
from tfimm_resolver.cli.exit_codes import EXIT_OUTDATED
from tfimm_resolver.cli.output import Output, error_to_json, format_table, style_state
from tfimm_resolver.cli.publishing import ServingTree, check_unused_options, keep_option
from tfimm_resolver.integrations.serving.publishing import TF_SERVING
from tfimm_resolver.models_file.schema import ModelEntry
from tfimm_resolver.project import sync_models
from tfimm_resolver.project.sync_models import SyncResult


class _Command(click.Command):
    """A command that says which two values ``--layout`` has, if one is missing."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.BadOptionUsage as error:
            if error.option_name != "--layout":
                raise
            raise click.UsageError(f"--layout needs a directory: --layout {TF_SERVING} DIR", ctx) from None


@click.command(cls=_Command, short_help="Fetch the models of the models file.")
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=complete_name)
@click.option("--check", is_flag=True, help="Fetch nothing; exit with 8 if a model is missing or does not match its pin.")
@jobs_option
@click.option(
    "--layout",
    type=(click.Choice([TF_SERVING]), str),
    metavar=f"{TF_SERVING} DIR",
    help="Also publish each model as a version in DIR/NAME, and write DIR/models.config, for TensorFlow Serving.",
)
@click.option(
    "--base-path", metavar="PATH", help="With --layout: DIR as the server sees it, for models.config, which keeps it."
)
@keep_option
@common
@click.pass_obj
def command(
    output: Output,
    names: Sequence[str],
    check: bool,
    jobs: int,
    layout: tuple[str, str] | None,
    base_path: str | None,
    keep: int,
) -> int:
    """Fetch the models of the models file (tfimm-models.toml) that are not cached, several in parallel.

    NAME restricts this to some of the models.
    """
    if layout and check:
        raise click.UsageError("--check and --layout cannot be used together")
    check_unused_options(layout=layout is not None)
    tree = ServingTree(layout[1], base_path, keep) if layout else None
    results = sync_models.sync(names, check=check, jobs=jobs)
    errors = [result.error for result in results if result.error and (result.state in ("failed", "unsigned") or not check)]
    if tree is not None:
        errors += tree.publish(output, results)
    if output.as_json:
        rows = [{**_to_json(result), **(tree.get_facts(result.model.name) if tree else {})} for result in results]
        config = {"models_config": tree.config} if tree else {}
        output.print_json({"models": rows, **config, **({"error": error_to_json(errors[0])} if errors else {})})
    else:
        _print(output, results, check)
        for error in tree.errors.values() if tree else ():
            output.print_error(error)
    if errors:
        return errors[0].exit_code
    return EXIT_OUTDATED if any(result.state in ("missing", "changed") for result in results) else 0


def _to_json(result: SyncResult) -> dict[str, Any]:
    known = result.model
    facts: dict[str, Any] = {"name": known.name, "handle": known.redacted_handle, "file": known.file, "state": result.state}
    facts |= {"sha256": known.sha256, "size_bytes": known.size_bytes, "path": result.path}
    return {**facts, **({"error": error_to_json(result.error)} if result.error else {})}


def _print(output: Output, results: Sequence[SyncResult], check: bool) -> None:
    rows = [
        [style_state(result.state), result.model.name, _format_model_size(result.model), result.path or ""]
        for result in results
    ]
    for result, line in zip(results, format_table(rows) if rows else [], strict=True):
        is_right = result.state in ("cached", "fetched")
        if not output.is_quiet:
            output.print_line(line)
        elif is_right is not check:
            output.print_line(result.model.name)
        if result.error:
            output.print_error(result.error)
    states = [result.state for result in results]
    output.print_summary(", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states)))


def _format_model_size(model: ModelEntry) -> str:
    return "" if model.size_bytes is None else f"{format_size(model.size_bytes):>7}"
