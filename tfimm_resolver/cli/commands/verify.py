"""``tfimm-resolver verify``: compares the cached files with their recorded hashes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.text import format_size
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cli.commands import common, format_command
from tfimm_resolver.cli.output import Output, error_to_json, format_count, style_state
from tfimm_resolver.errors import CacheError, IntegrityError, ResolverError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.maintenance.inventory import CachedModel
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution.resolver import resolve

EXIT_DAMAGED = 6
EXIT_UNVERIFIED = 7


@click.command(short_help="Compare the cached files with their recorded hashes.")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--repair", is_flag=True, help="Download damaged models again.")
@common
@click.pass_obj
def command(output: Output, models: Sequence[str], repair: bool) -> int:
    """Read every file of the given or of all models, and compare it with the hash recorded when it was fetched.

    MODEL is a name that the command `ls` prints, a handle, or the first six or more digits of the sha1 of its directory.
    Exits with 6 if a model is damaged, with 7 if no hashes were recorded for one.
    """
    rows = []
    for model in inventory.select(models):
        row = _verify(model)
        if row["state"] == "damaged" and repair:
            row |= _repair(model)
        rows.append(row)
        if not output.as_json:
            _print_row(output, model, row)
    states = [row["state"] for row in rows]
    if output.as_json:
        output.print_json({"models": rows})
    else:
        output.print_summary(
            ", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states)) or "nothing is cached"
        )
    return EXIT_DAMAGED if "damaged" in states else EXIT_UNVERIFIED if "unverified" in states else 0


def _verify(model: CachedModel) -> dict[str, Any]:
    started_s = time.monotonic()
    files = model.entry.record.files if model.entry else None
    file_count = len(files) if files is not None else sum(1 for _ in fs.walk(model.path))
    faults = list(inventory.find_damaged_files(model))
    if files is None and model.entry and model.entry.defect:
        faults = [model.entry.defect]
    status = "damaged" if faults else "unverified" if files is None else "ok"
    seconds = round(time.monotonic() - started_s, 3)
    return {**model.facts(), "state": status, "faults": faults, "files": file_count, "seconds": seconds}


def _repair(model: CachedModel) -> dict[str, Any]:
    try:
        resolve(_find_repair_handle(model), refresh=True)
    except ResolverError as error:
        return {"repaired": False, "error": error_to_json(error)}
    cached = [other for other in inventory.list_models() if other.entry and not other.other_root]
    repaired = [other for other in cached if model.entry and other.entry and other.entry.name == model.entry.name]
    now = _verify(repaired[0]) if repaired else {}
    if now.get("state") != "ok":
        changed = IntegrityError(
            f"{show(model.name)} could not be fetched again: its handle now leads to another model, "
            "or a part of it was not recorded"
        )
        return {"repaired": False, "error": error_to_json(changed)}
    was = model.entry.record.origin.sha256 if model.entry else ""
    return {**now, "repaired": True, "changed": bool(was) and was != now["archive_sha256"]}


def _find_repair_handle(model: CachedModel) -> str:
    if model.is_read_only:
        raise CacheError(
            f"{show(model.other_root)} is an extra root, which is read-only", fix="Ask the owner of that root to repair it."
        )
    for known in discovery.list_entries():  # resolving by name applies its pin and its mirrors
        if model.entry and entry_name_for_key(Handle.parse(known.handle).key) == model.entry.name:
            return known.name
    handle = model.entry.record.handle if model.entry else ""
    if not handle or handle.endswith("?…"):
        raise CacheError(
            f"the full handle of {show(model.name)} is unknown: its query was not recorded, as it may contain a secret",
            fix="Fetch it again with its full handle: tfimm-resolver resolve --refresh HANDLE.",
        )
    return handle


def _print_row(output: Output, model: CachedModel, row: dict[str, Any]) -> None:
    files, size = format_count(row["files"], "file"), format_size(row["size_bytes"])
    note = ", fetched again" if row.get("repaired") else ""
    note += ", a different archive than before" if row.get("changed") else ""
    output.print_line(f"{style_state(row['state'])}  {model.name}  {files}  {size}  {row['seconds']:.1f} s{note}")
    if row["state"] == "damaged":
        for fault in row["faults"]:
            output.print_line(f"  {fault}")
        error = row.get("error")
        advice = (
            f"ask the owner of {model.other_root}, which is read-only"
            if model.is_read_only
            else format_command(f"verify --repair {model.name}")
        )
        advice = f"not repaired: {error['text']}" if error else f"to repair: {advice}"
        output.print_line(f"  {advice}")
