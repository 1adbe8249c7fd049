"""``tfimm-resolver sync``: fetches the models of the models file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import EXIT_OUTDATED, common, jobs_option
from tfimm_resolver.cli.output import Output, error_to_json, format_count, format_table, style_state
from tfimm_resolver.errors import IntegrityError, ModelsFileError, ResolverError
from tfimm_resolver.models_file.schema import ModelEntry
from tfimm_resolver.progress.batch import map_parallel
from tfimm_resolver.project import pins
from tfimm_resolver.resolution import rules
from tfimm_resolver.resolution.fetching import fetch, find_cached
from tfimm_resolver.resolution.request import Request, ResolvedPlan


@dataclass(frozen=True, slots=True)
class _SyncResult:
    """The outcome for one model."""

    model: ModelEntry
    state: str
    path: str | None = None
    error: ResolverError | None = None

    def facts(self) -> dict[str, Any]:
        known = self.model
        facts: dict[str, Any] = {"name": known.name, "handle": known.redacted_handle, "file": known.file, "state": self.state}
        facts |= {"sha256": known.sha256, "size_bytes": known.size_bytes, "path": self.path}
        return {**facts, **({"error": error_to_json(self.error)} if self.error else {})}


@click.command(short_help="Fetch the models of the models file.")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--check", is_flag=True, help="Fetch nothing; exit with 8 if a model is missing or does not match its pin.")
@jobs_option
@common
@click.pass_obj
def command(output: Output, names: Sequence[str], check: bool, jobs: int) -> int:
    """Fetch the models of the models file (tfimm-models.toml) that are not cached, several in parallel.

    NAME restricts this to some of the models.
    """
    results = [_check_cached(model) for model in pins.select_models(names)]
    if not check:
        results = _fetch_missing(output, results, jobs)
    errors = [result.error for result in results if result.error and (result.state == "failed" or not check)]
    if output.as_json:
        output.print_json(
            {"models": [result.facts() for result in results], **({"error": error_to_json(errors[0])} if errors else {})}
        )
    else:
        _print(output, results)
    if errors:
        return errors[0].exit_code
    return EXIT_OUTDATED if any(result.state in ("missing", "changed") for result in results) else 0


def _check_cached(model: ModelEntry) -> _SyncResult:
    """Check whether the model is cached, without network access."""

    def check() -> _SyncResult:
        found = find_cached(rules.match_rule(Request.parse(model.name)))
        return _SyncResult(model, "cached", found.path) if found else _SyncResult(model, "missing")

    return _capture_errors(model, check)


def _fetch_missing(output: Output, results: Sequence[_SyncResult], jobs: int) -> list[_SyncResult]:
    """Fetch the missing models; return the results in the same order."""
    missing = [result.model for result in results if result.state == "missing"]

    def fetch_model(model: ModelEntry) -> _SyncResult:
        return _capture_errors(model, lambda: _SyncResult(model, "fetched", fetch(_match_unchanged(model)).path))

    fetched = map_parallel(
        fetch_model,
        missing,
        jobs=jobs,
        label=format_count(len(missing), "model"),
        total_bytes=pins.sum_archive_sizes(missing),
        quiet=output.is_quiet,
    )
    by_name = {result.model.name: result for result in fetched}
    return [by_name.get(result.model.name, result) for result in results]


def _match_unchanged(model: ModelEntry) -> ResolvedPlan:
    """Return the plan for a model, unless its entry in the models file has changed since it was read."""
    resolved = rules.match_rule(Request.parse(model.name))
    if resolved.model != model:
        raise ModelsFileError(
            f"{model.location}: {model.name} was changed during the run",
            fix="It was not fetched: run `tfimm-resolver sync` again.",
        )
    return resolved


def _capture_errors(model: ModelEntry, action: Callable[[], _SyncResult]) -> _SyncResult:
    try:
        return action()
    except IntegrityError as error:
        return _SyncResult(model, "changed", error=error)
    except ResolverError as error:
        return _SyncResult(model, "failed", error=error)


def _print(output: Output, results: Sequence[_SyncResult]) -> None:
    rows = [
        [style_state(result.state), result.model.name, _format_model_size(result.model), result.path or ""]
        for result in results
    ]
    for result, line in zip(results, format_table(rows) if rows else [], strict=True):
        output.print_line(line)
        if result.error:
            output.print_error(result.error)
    states = [result.state for result in results]
    output.print_summary(", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states)))


def _format_model_size(model: ModelEntry) -> str:
    return "" if model.size_bytes is None else f"{format_size(model.size_bytes):>7}"
