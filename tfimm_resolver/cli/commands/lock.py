"""``tfimm-resolver lock``: pins the models of the models file, and reports upstream changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import common, format_command, jobs_option
from tfimm_resolver.cli.completion import complete_name
from tfimm_resolver.cli.exit_codes import EXIT_OUTDATED
from tfimm_resolver.cli.output import Output, error_to_json, format_table, style_state
from tfimm_resolver.project import lock_models
from tfimm_resolver.project.lock_models import LockResult


@click.command(short_help="Pin the models of the models file; report upstream changes.")
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=complete_name)
@click.option("--update", is_flag=True, help="Fetch models that changed upstream, and pin the new version.")
@click.option("--check", is_flag=True, help="Change nothing; exit with 8 if a model is not pinned or changed upstream.")
@jobs_option
@common
@click.pass_obj
def command(output: Output, names: Sequence[str], update: bool, check: bool, jobs: int) -> int:
    """Compare the models of the models file (tfimm-models.toml) with upstream, and pin those that are not pinned yet.

    NAME restricts this to some of the models. A pinned model that changed upstream is reported (exit code 8), and keeps its
    pin unless --update is given.
    """
    if update and check:
        raise click.UsageError("--update changes the models file, and --check must not: use one of them")
    results = lock_models.lock(names, update=update, check=check, jobs=jobs)
    errors = [result.error for result in results if result.error]
    if output.as_json:
        output.print_json(
            {"models": [_to_json(result) for result in results], **({"error": error_to_json(errors[0])} if errors else {})}
        )
    else:
        _print(output, results, check)
    if errors:
        return errors[0].exit_code
    return EXIT_OUTDATED if any(result.state in ("changed", "unpinned") for result in results) else 0


def _to_json(result: LockResult) -> dict[str, Any]:
    known, origin = result.model, result.origin
    facts: dict[str, Any] = {"name": known.name, "handle": known.redacted_handle, "file": known.file, "state": result.state}
    facts |= {"sha256": known.sha256, "size_bytes": known.size_bytes}
    facts |= {"upstream_sha256": origin.sha256 or None, "upstream_size_bytes": origin.size_bytes}
    return {**facts, **({"error": error_to_json(result.error)} if result.error else {})}


def _print(output: Output, results: Sequence[LockResult], check: bool) -> None:
    lines = (
        format_table([[style_state(result.state), result.model.name, result.model.redacted_handle] for result in results])
        if results
        else []
    )
    for result, line in zip(results, lines, strict=True):
        is_right = not result.error and result.state not in ("changed", "unpinned")
        if not output.is_quiet:
            output.print_line(line)
            _print_details(output, result)
        elif is_right is not check:
            output.print_line(result.model.name)
        if result.error:
            output.print_error(result.error)
    states = [result.state for result in results]
    output.print_summary(", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states)))


def _print_details(output: Output, result: LockResult) -> None:
    """Print the lines below that of a model: its pins, and what to do."""
    if result.state in ("changed", "updated"):
        before = "was" if result.state == "updated" else "pinned"
        output.print_line(f"  {before:<8}  {_format_pin(result.model.sha256, result.model.size_bytes)}")
        output.print_line(f"  upstream  {_format_pin(result.origin.sha256, result.origin.size_bytes)}")
    if result.state == "changed":
        output.print_line(f"  to update the pin: {format_command(f'lock --update {result.model.name}')}")
    if result.state == "unverified":
        output.print_line("  not pinned: it is not an archive")


def _format_pin(sha256: str | None, size_bytes: int | None) -> str:
    return f"{sha256}{'' if size_bytes is None else f', {format_size(size_bytes)}'}"
