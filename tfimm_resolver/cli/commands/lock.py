"""``tfimm-resolver lock``: pins what the models file names, and tells what changed upstream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import EXIT_OUTDATED, common, format_command, jobs_option
from tfimm_resolver.cli.output import Output, count, error_to_json, state, table
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import Origin
from tfimm_resolver.models_file.schema import ModelEntry
from tfimm_resolver.progress.batch import map_parallel as done_at_once
from tfimm_resolver.project import pins


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found of one model; ``origin`` is what upstream has, where that was asked."""

    model: ModelEntry
    state: str
    origin: Origin = field(default_factory=Origin)
    error: ResolverError | None = None

    def facts(self) -> dict[str, Any]:
        known = self.model
        facts: dict[str, Any] = {"name": known.name, "handle": known.public, "file": known.file, "state": self.state}
        facts |= {"sha256": known.sha256, "size_bytes": known.size_bytes}
        facts |= {"upstream_sha256": self.origin.sha256 or None, "upstream_size_bytes": self.origin.size_bytes}
        return {**facts, **({"error": error_to_json(self.error)} if self.error else {})}


@click.command(short_help="Pin what the models file names; tell what changed upstream.")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--update", is_flag=True, help="Take what changed upstream: fetch it, and pin that.")
@click.option("--check", is_flag=True, help="Write nothing; exit 8 if something is not pinned or changed upstream.")
@jobs_option
@common
@click.pass_obj
def command(screen: Output, names: Sequence[str], update: bool, check: bool, jobs: int) -> int:
    """Ask the place of every model, or of those named, what its archive is now, and pin what has no pin yet.

    What is pinned and changed upstream stays as it is, unless --update is given; it is told, and the exit code is 8.
    """
    if update and check:
        raise click.UsageError("--update writes, and --check does not")
    models = pins.select_models(names)
    looks = done_at_once(
        lambda model: _looked(model, update, check),
        models,
        jobs=jobs,
        label=count(len(models), "model"),
        total_bytes=pins.size_bytes(models),
        quiet=screen.is_quiet,
    )
    looks = [_written(look) for look in looks]
    errors = [look.error for look in looks if look.error]
    if screen.as_json:
        screen.facts({"models": [look.facts() for look in looks], **({"error": error_to_json(errors[0])} if errors else {})})
    else:
        _print(screen, looks)
    if errors:
        return errors[0].exit_code
    return EXIT_OUTDATED if any(look.state in ("changed", "unpinned") for look in looks) else 0


def _looked(model: ModelEntry, update: bool, check: bool) -> _Look:
    """Ask upstream; into the cache comes only what is to be pinned."""
    handle = Handle.parse(model.handle)
    try:
        if model.sha256 is None and check:
            return _Look(model, "unpinned")
        is_wanted = model.sha256 is None or update
        origin = (
            pins.fetch_and_hash(handle, refresh=True)[1]
            if is_wanted
            else pins.fetch_upstream_hash(replace(handle, sha256=model.sha256))
        )
    except ResolverError as error:
        return _Look(model, "failed", error=error)
    return _Look(model, _state(model, origin, update, check), origin)


def _state(model: ModelEntry, origin: Origin, update: bool, check: bool) -> str:
    if not origin.sha256:
        return "no archive"
    if model.sha256 not in (None, origin.sha256):
        return "updated" if update else "changed"
    if model.size_bytes != origin.size_bytes or model.sha256 is None:
        return "unpinned" if check else "pinned"
    return "same"


def _written(look: _Look) -> _Look:
    if look.state in ("pinned", "updated"):
        try:
            pins.pin(look.model, look.origin)
        except ResolverError as error:
            return _Look(look.model, "failed", look.origin, error)
    return look


def _print(screen: Output, looks: Sequence[_Look]) -> None:
    lines = table([[state(look.state), look.model.name, look.model.public] for look in looks]) if looks else []
    for look, line in zip(looks, lines, strict=True):
        screen.data(line)
        if look.state in ("changed", "updated"):
            before = "was" if look.state == "updated" else "pinned"
            screen.data(f"  {before:<8}  {_pin(look.model.sha256, look.model.size_bytes)}")
            screen.data(f"  upstream  {_pin(look.origin.sha256, look.origin.size_bytes)}")
        if look.state == "changed":
            screen.data(f"  take it: {format_command(f'lock --update {look.model.name}')}")
        if look.error:
            screen.error(look.error)
    states = [look.state for look in looks]
    screen.sum(", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states)))


def _pin(sha256: str | None, size_bytes: int | None) -> str:
    return f"{sha256}{'' if size_bytes is None else f', {format_size(size_bytes)}'}"
