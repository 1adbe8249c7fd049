"""``tfimm-resolver verify``: compares every byte with what was fetched."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from tfimm_resolver._util import fs
from tfimm_resolver._util.text import format_size
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cli.commands import common, format_command
from tfimm_resolver.cli.output import Output, count, error_to_json, state
from tfimm_resolver.errors import CacheError, IntegrityError, ResolverError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.maintenance.inventory import CachedModel
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution.resolver import resolve

EXIT_DAMAGED = 6
EXIT_UNVERIFIABLE = 7


@click.command(short_help="Read every file and compare it with what was fetched.")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--repair", is_flag=True, help="Fetch again what is damaged.")
@common
@click.pass_obj
def command(screen: Output, models: Sequence[str], repair: bool) -> int:
    """Read every file and compare it with what was fetched; exits 6 if one is damaged, 7 if nothing is known of one."""
    rows = []
    for model in inventory.select(models):
        row = _verified(model)
        if row["state"] == "damaged" and repair:
            row |= _repaired(model)
        rows.append(row)
        if not screen.as_json:
            _print_verified(screen, model, row)
    states = [row["state"] for row in rows]
    if screen.as_json:
        screen.facts({"models": rows})
    else:
        screen.sum(", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states)) or "nothing is cached")
    return EXIT_DAMAGED if "damaged" in states else EXIT_UNVERIFIABLE if "unverifiable" in states else 0


def _verified(model: CachedModel) -> dict[str, Any]:
    started_s = time.monotonic()
    files = model.entry.record.files if model.entry else None
    number = len(files) if files is not None else sum(1 for _ in fs.walk(model.path))
    faults = list(inventory.hash_faults(model))
    if files is None and model.entry and model.entry.fault:
        faults = [model.entry.fault]
    word = "damaged" if faults else "unverifiable" if files is None else "whole"
    seconds = round(time.monotonic() - started_s, 3)
    return {**model.facts(), "state": word, "faults": faults, "files": number, "seconds": seconds}


def _repaired(model: CachedModel) -> dict[str, Any]:
    try:
        resolve(_handle_to_repair(model), refresh=True)
    except ResolverError as error:
        return {"repaired": False, "error": error_to_json(error)}
    here = [other for other in inventory.list_models() if other.entry and not other.lender]
    mended = [other for other in here if model.entry and other.entry and other.entry.name == model.entry.name]
    now = _verified(mended[0]) if mended else {}
    if now.get("state") != "whole":
        changed = IntegrityError(f"{model.name} is now another model, or its handle had a part that was not kept")
        return {"repaired": False, "error": error_to_json(changed)}
    was = model.entry.record.origin.sha256 if model.entry else ""
    return {**now, "repaired": True, "changed": bool(was) and was != now["archive_sha256"]}


def _handle_to_repair(model: CachedModel) -> str:
    if model.is_only_read:
        raise CacheError(f"{model.lender} is an extra root, which is only read", fix="Whoever keeps it can mend it there.")
    for known in discovery.models():  # its pin counts, and its mirrors
        if model.entry and entry_name_for_key(Handle.parse(known.handle).key) == model.entry.name:
            return known.name
    handle = model.entry.record.handle if model.entry else ""
    if not handle or handle.endswith("?…"):
        raise CacheError(
            f"the whole handle of {model.name} was not kept, as its query may hold a secret",
            fix="Fetch it again yourself: tfimm-resolver resolve --refresh HANDLE.",
        )
    return handle


def _print_verified(screen: Output, model: CachedModel, row: dict[str, Any]) -> None:
    size = format_size(row["size_bytes"])
    note = ", fetched again" if row.get("repaired") else ""
    note += ": another archive than before" if row.get("changed") else ""
    screen.data(f"{state(row['state'])}  {model.name}  {count(row['files'], 'file')}  {size}  {row['seconds']:.1f} s{note}")
    if row["state"] == "damaged":
        for fault in row["faults"]:
            screen.data(f"  {fault}")
        error = row.get("error")
        mend = (
            f"it lies in {model.lender}, which is only read"
            if model.is_only_read
            else format_command(f"verify --repair {model.name}")
        )
        mend = f"not mended: {error['text']}" if error else f"mend: {mend}"
        screen.data(f"  {mend}")
