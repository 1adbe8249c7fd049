"""``tfimm-resolver lock``: pins the models of the models file, and reports upstream changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import EXIT_OUTDATED, common, format_command, jobs_option
from tfimm_resolver.cli.output import Output, error_to_json, format_count, format_table, style_state
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.manifest import Origin
from tfimm_resolver.models_file.schema import ModelEntry
from tfimm_resolver.progress.batch import map_parallel
from tfimm_resolver.project import pins


@dataclass(frozen=True, slots=True)
class _LockResult:
    """The outcome for one model; ``origin`` is the current archive upstream, if it was looked up."""

    model: ModelEntry
    state: str
    origin: Origin = field(default_factory=Origin)
    error: ResolverError | None = None

    def facts(self) -> dict[str, Any]:
        known = self.model
        facts: dict[str, Any] = {"name": known.name, "handle": known.redacted_handle, "file": known.file, "state": self.state}
        facts |= {"sha256": known.sha256, "size_bytes": known.size_bytes}
        facts |= {"upstream_sha256": self.origin.sha256 or None, "upstream_size_bytes": self.origin.size_bytes}
        return {**facts, **({"error": error_to_json(self.error)} if self.error else {})}


@click.command(short_help="Pin the models of the models file; report upstream changes.")
@click.argument("names", nargs=-1, metavar="[NAME...]")
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
    models = pins.select_models(names)
    results = map_parallel(
        lambda model: _check_upstream(model, update, check),
        models,
        jobs=jobs,
        label=format_count(len(models), "model"),
        total_bytes=pins.sum_archive_sizes(models),
        quiet=output.is_quiet,
    )
    results = [_write_pin(result) for result in results]
    errors = [result.error for result in results if result.error]
    if output.as_json:
        output.print_json(
            {"models": [result.facts() for result in results], **({"error": error_to_json(errors[0])} if errors else {})}
        )
    else:
        _print(output, results)
    if errors:
        return errors[0].exit_code
    return EXIT_OUTDATED if any(result.state in ("changed", "unpinned") for result in results) else 0


def _check_upstream(model: ModelEntry, update: bool, check: bool) -> _LockResult:
    """Look up the archive upstream; it is stored in the cache only if it is to be pinned."""
    try:
        if model.sha256 is None and check:
            return _LockResult(model, "unpinned")
        must_fetch = model.sha256 is None or update
        origin = (
            pins.fetch_and_hash(replace(model.parse_handle(), sha256=None), refresh=True)[1]
            if must_fetch
            else pins.fetch_upstream_hash(model.parse_handle())
        )
    except ResolverError as error:
        return _LockResult(model, "failed", error=error)
    return _LockResult(model, _classify(model, origin, update, check), origin)


def _classify(model: ModelEntry, origin: Origin, update: bool, check: bool) -> str:
    if not origin.sha256:
        return "unverified"
    if model.sha256 not in (None, origin.sha256):
        return "updated" if update else "changed"
    if model.size_bytes != origin.size_bytes or model.sha256 is None:
        return "unpinned" if check else "pinned"
    return "ok"


def _write_pin(result: _LockResult) -> _LockResult:
    if result.state in ("pinned", "updated"):
        try:
            pins.pin(result.model, result.origin)
        except ResolverError as error:
            return _LockResult(result.model, "failed", result.origin, error)
    return result


def _print(output: Output, results: Sequence[_LockResult]) -> None:
    lines = (
        format_table([[style_state(result.state), result.model.name, result.model.redacted_handle] for result in results])
        if results
        else []
    )
    for result, line in zip(results, lines, strict=True):
        output.print_line(line)
        if result.state in ("changed", "updated"):
            before = "was" if result.state == "updated" else "pinned"
            output.print_line(f"  {before:<8}  {_format_pin(result.model.sha256, result.model.size_bytes)}")
            output.print_line(f"  upstream  {_format_pin(result.origin.sha256, result.origin.size_bytes)}")
        if result.state == "changed":
            output.print_line(f"  to update the pin: {format_command(f'lock --update {result.model.name}')}")
        if result.state == "unverified":
            output.print_line("  not pinned: it is not an archive")
        if result.error:
            output.print_error(result.error)
    states = [result.state for result in results]
    output.print_summary(", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states)))


def _format_pin(sha256: str | None, size_bytes: int | None) -> str:
    return f"{sha256}{'' if size_bytes is None else f', {format_size(size_bytes)}'}"
