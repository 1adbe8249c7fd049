"""``tfimm-resolver verify``: compares every byte with what was fetched."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from tfimm_resolver import listing, models_file, record
from tfimm_resolver.cache import name_of
from tfimm_resolver.commands import again, common
from tfimm_resolver.errors import CacheError, IntegrityError, ResolverError
from tfimm_resolver.handle import Handle
from tfimm_resolver.listing import Model
from tfimm_resolver.progress import in_words
from tfimm_resolver.resolver import resolve
from tfimm_resolver.screen import Screen, count, described, state

EXIT_DAMAGED = 6
EXIT_UNVERIFIABLE = 7


@click.command(short_help="Read every file and compare it with what was fetched.")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--repair", is_flag=True, help="Fetch again what is damaged.")
@common
@click.pass_obj
def command(screen: Screen, models: Sequence[str], repair: bool) -> int:
    """Read every file and compare it with what was fetched; exits 6 if one is damaged, 7 if nothing is known of one."""
    rows = []
    for model in listing.select(models):
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


def _verified(model: Model) -> dict[str, Any]:
    started_s = time.monotonic()
    files = model.entry.record.files if model.entry else None
    number = len(files) if files is not None else sum(1 for _ in record.walk(model.path))
    faults = list(listing.hash_faults(model))
    if files is None and model.entry and model.entry.fault:
        faults = [model.entry.fault]
    word = "damaged" if faults else "unverifiable" if files is None else "whole"
    seconds = round(time.monotonic() - started_s, 3)
    return {**model.facts(), "state": word, "faults": faults, "files": number, "seconds": seconds}


def _repaired(model: Model) -> dict[str, Any]:
    try:
        resolve(_handle_to_repair(model), refresh=True)
    except ResolverError as error:
        return {"repaired": False, "error": described(error)}
    here = [other for other in listing.models() if other.entry and not other.lender]
    mended = [other for other in here if model.entry and other.entry and other.entry.name == model.entry.name]
    now = _verified(mended[0]) if mended else {}
    if now.get("state") != "whole":
        changed = IntegrityError(f"{model.name} is now another model, or its handle had a part that was not kept")
        return {"repaired": False, "error": described(changed)}
    was = model.entry.record.origin.sha256 if model.entry else ""
    return {**now, "repaired": True, "changed": bool(was) and was != now["archive_sha256"]}


def _handle_to_repair(model: Model) -> str:
    if model.is_only_read:
        raise CacheError(f"{model.lender} is an extra root, which is only read", fix="Whoever keeps it can mend it there.")
    for known in models_file.models():  # its pin counts, and its mirrors
        if model.entry and name_of(Handle.parse(known.handle).key) == model.entry.name:
            return known.name
    handle = model.entry.record.handle if model.entry else ""
    if not handle or handle.endswith("?…"):
        raise CacheError(
            f"the whole handle of {model.name} was not kept, as its query may hold a secret",
            fix="Fetch it again yourself: tfimm-resolver resolve --refresh HANDLE.",
        )
    return handle


def _print_verified(screen: Screen, model: Model, row: dict[str, Any]) -> None:
    size = in_words(row["size_bytes"])
    note = ", fetched again" if row.get("repaired") else ""
    note += ": another archive than before" if row.get("changed") else ""
    screen.data(f"{state(row['state'])}  {model.name}  {count(row['files'], 'file')}  {size}  {row['seconds']:.1f} s{note}")
    if row["state"] == "damaged":
        for fault in row["faults"]:
            screen.data(f"  {fault}")
        error = row.get("error")
        mend = (
            f"it lies in {model.lender}, which is only read" if model.is_only_read else again(f"verify --repair {model.name}")
        )
        mend = f"not mended: {error['text']}" if error else f"mend: {mend}"
        screen.data(f"  {mend}")
