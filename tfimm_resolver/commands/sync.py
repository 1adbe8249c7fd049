"""``tfimm-resolver sync``: fetches what the models file names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from tfimm_resolver import lookup, pins
from tfimm_resolver.commands import EXIT_OUT_OF_STEP, at_once, common
from tfimm_resolver.errors import IntegrityError, ModelsFileError, ResolverError
from tfimm_resolver.handle import Handle
from tfimm_resolver.lookup import Answer
from tfimm_resolver.models_toml import Model
from tfimm_resolver.progress import in_words
from tfimm_resolver.resolver import bring, find
from tfimm_resolver.screen import Screen, count, described, state, table
from tfimm_resolver.together import at_once as done_at_once


@dataclass(frozen=True, slots=True)
class _Look:
    """What is here of one model."""

    model: Model
    state: str
    path: str | None = None
    error: ResolverError | None = None

    def facts(self) -> dict[str, Any]:
        known = self.model
        facts: dict[str, Any] = {"name": known.name, "handle": known.public, "file": known.file, "state": self.state}
        facts |= {"sha256": known.sha256, "size_bytes": known.size_bytes, "path": self.path}
        return {**facts, **({"error": described(self.error)} if self.error else {})}


@click.command(short_help="Fetch what the models file names.")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--check", is_flag=True, help="Fetch nothing; exit 8 if a model is not here as it is pinned.")
@at_once
@common
@click.pass_obj
def command(screen: Screen, names: Sequence[str], check: bool, jobs: int) -> int:
    """Fetch every model of the models file, or those named, several at once; --check only says what is missing."""
    looks = [_looked(model) for model in pins.chosen(names)]
    if not check:
        looks = _fetched(screen, looks, jobs)
    errors = [look.error for look in looks if look.error and (look.state == "failed" or not check)]
    if screen.as_json:
        screen.facts({"models": [look.facts() for look in looks], **({"error": described(errors[0])} if errors else {})})
    else:
        _print(screen, looks)
    if errors:
        return errors[0].exit_code
    return EXIT_OUT_OF_STEP if any(look.state in ("missing", "differs") for look in looks) else 0


def _looked(model: Model) -> _Look:
    """What is here, without a look at the network."""

    def look() -> _Look:
        found = find(lookup.answer(Handle.parse(model.name)))
        return _Look(model, "there", found.path) if found else _Look(model, "missing")

    return _told(model, look)


def _fetched(screen: Screen, looks: Sequence[_Look], jobs: int) -> list[_Look]:
    """Fetch what is missing; the order stays."""
    missing = [look.model for look in looks if look.state == "missing"]

    def fetch(model: Model) -> _Look:
        return _told(model, lambda: _Look(model, "fetched", bring(_unchanged(model)).path))

    now = done_at_once(
        fetch,
        missing,
        jobs=jobs,
        label=count(len(missing), "model"),
        total_bytes=pins.size_bytes(missing),
        quiet=screen.is_quiet,
    )
    by_name = {look.model.name: look for look in now}
    return [by_name.get(look.model.name, look) for look in looks]


def _unchanged(model: Model) -> Answer:
    """What is to be done for a model, if the file still says of it what it said at first."""
    answer = lookup.answer(Handle.parse(model.name))
    if answer.model != model:
        raise ModelsFileError(
            f"{model.place}: {model.name} was changed meanwhile", fix="Nothing was fetched for it: sync again."
        )
    return answer


def _told(model: Model, look: Callable[[], _Look]) -> _Look:
    try:
        return look()
    except IntegrityError as error:
        return _Look(model, "differs", error=error)
    except ResolverError as error:
        return _Look(model, "failed", error=error)


def _print(screen: Screen, looks: Sequence[_Look]) -> None:
    rows = [[state(look.state), look.model.name, _size(look.model), look.path or ""] for look in looks]
    for look, line in zip(looks, table(rows) if rows else [], strict=True):
        screen.data(line)
        if look.error:
            screen.error(look.error)
    states = [look.state for look in looks]
    screen.sum(", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states)))


def _size(model: Model) -> str:
    return "" if model.size_bytes is None else f"{in_words(model.size_bytes):>7}"
