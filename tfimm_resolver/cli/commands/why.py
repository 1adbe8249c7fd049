"""``tfimm-resolver why``: which rule answers to a name or a handle, and what was not used."""

from __future__ import annotations

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output, error_to_json
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.resolution import explain


@click.command(short_help="Say which rule answers to a name or a handle.")
@click.argument("name")
@common
@click.pass_obj
def command(screen: Output, name: str) -> int:
    """Say where NAME, or any handle, leads, by which rule, and what was not used and why. Fetches nothing."""
    why = explain.explain(inventory.handle_of(name))
    name = inventory.public(name)
    if screen.as_json:
        answer = why.answer
        facts = {"asked": name, "path": why.path, "rule": answer.rule, "said_by": why.said_by, "handle": str(answer.handle)}
        pin = {"sha256": answer.handle.sha256, "size_bytes": why.size_bytes}
        not_used = [{"place": place, "reason": reason} for place, reason in why.not_used]
        error = {"error": error_to_json(why.fault)} if why.fault else {}
        screen.facts({**facts, **pin, "not_used": not_used, **error})
    else:
        _print(screen, name, why)
    return why.fault.exit_code if why.fault else 0


def _no_path(why: explain.Explanation) -> str:
    if why.fault:
        return "not here: it is not as pinned"
    return "not known: resolve asks the place where it lies" if why.is_asked else "not here yet: resolve fetches it"


def _print(screen: Output, name: str, why: explain.Explanation) -> None:
    handle, size_bytes = why.answer.handle, why.size_bytes
    screen.data(why.path or _no_path(why))
    rows = [("asked", name), ("rule", f"{why.answer.rule}, {why.said_by}")]
    if str(handle) != name:
        rows.append(("handle", str(handle)))
    if handle.sha256:
        rows.append(("pin", f"sha256 {handle.sha256}{'' if size_bytes is None else f', {format_size(size_bytes)}'}"))
    rows += [("" if number else "not used", f"{place} ({reason})") for number, (place, reason) in enumerate(why.not_used)]
    for word, text in rows:
        screen.data(f"  {word:<9}  {text}")
    if why.fault:
        screen.error(why.fault)
