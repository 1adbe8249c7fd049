"""``tfimm-resolver sync``: fetches what the models file names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import EXIT_OUTDATED, common, jobs_option
from tfimm_resolver.cli.output import Output, count, error_to_json, state, table
from tfimm_resolver.errors import IntegrityError, ModelsFileError, ResolverError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.models_file.schema import ModelEntry
from tfimm_resolver.progress.batch import map_parallel as done_at_once
from tfimm_resolver.project import pins
from tfimm_resolver.resolution import rules
from tfimm_resolver.resolution.resolver import fetch, find_cached
from tfimm_resolver.resolution.rules import ResolvedPlan


@dataclass(frozen=True, slots=True)
class _Look:
    """What is here of one model."""

    model: ModelEntry
    state: str
    path: str | None = None
    error: ResolverError | None = None

    def facts(self) -> dict[str, Any]:
        known = self.model
        facts: dict[str, Any] = {"name": known.name, "handle": known.public, "file": known.file, "state": self.state}
        facts |= {"sha256": known.sha256, "size_bytes": known.size_bytes, "path": self.path}
        return {**facts, **({"error": error_to_json(self.error)} if self.error else {})}


@click.command(short_help="Fetch what the models file names.")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--check", is_flag=True, help="Fetch nothing; exit 8 if a model is not here as it is pinned.")
@jobs_option
@common
@click.pass_obj
def command(screen: Output, names: Sequence[str], check: bool, jobs: int) -> int:
    """Fetch every model of the models file, or those named, several at once; --check only says what is missing."""
    looks = [_looked(model) for model in pins.select_models(names)]
    if not check:
        looks = _fetched(screen, looks, jobs)
    errors = [look.error for look in looks if look.error and (look.state == "failed" or not check)]
    if screen.as_json:
        screen.facts({"models": [look.facts() for look in looks], **({"error": error_to_json(errors[0])} if errors else {})})
    else:
        _print(screen, looks)
    if errors:
        return errors[0].exit_code
    return EXIT_OUTDATED if any(look.state in ("missing", "differs") for look in looks) else 0


def _looked(model: ModelEntry) -> _Look:
    """What is here, without a look at the network."""

    def look() -> _Look:
        found = find_cached(rules.match_rule(Handle.parse(model.name)))
        return _Look(model, "there", found.path) if found else _Look(model, "missing")

    return _told(model, look)


def _fetched(screen: Output, looks: Sequence[_Look], jobs: int) -> list[_Look]:
    """Fetch what is missing; the order stays."""
    missing = [look.model for look in looks if look.state == "missing"]

    def fetch_model(model: ModelEntry) -> _Look:
        return _told(model, lambda: _Look(model, "fetched", fetch(_unchanged(model)).path))

    now = done_at_once(
        fetch_model,
        missing,
        jobs=jobs,
        label=count(len(missing), "model"),
        total_bytes=pins.size_bytes(missing),
        quiet=screen.is_quiet,
    )
    by_name = {look.model.name: look for look in now}
    return [by_name.get(look.model.name, look) for look in looks]


def _unchanged(model: ModelEntry) -> ResolvedPlan:
    """What is to be done for a model, if the file still says of it what it said at first."""
    answer = rules.match_rule(Handle.parse(model.name))
    if answer.model != model:
        raise ModelsFileError(
            f"{model.place}: {model.name} was changed meanwhile", fix="Nothing was fetched for it: sync again."
        )
    return answer


def _told(model: ModelEntry, look: Callable[[], _Look]) -> _Look:
    try:
        return look()
    except IntegrityError as error:
        return _Look(model, "differs", error=error)
    except ResolverError as error:
        return _Look(model, "failed", error=error)


def _print(screen: Output, looks: Sequence[_Look]) -> None:
    rows = [[state(look.state), look.model.name, _size(look.model), look.path or ""] for look in looks]
    for look, line in zip(looks, table(rows) if rows else [], strict=True):
        screen.data(line)
        if look.error:
            screen.error(look.error)
    states = [look.state for look in looks]
    screen.sum(", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states)))


def _size(model: ModelEntry) -> str:
    return "" if model.size_bytes is None else f"{format_size(model.size_bytes):>7}"
