"""``tfimm-resolver resolve``: from handles to paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tfimm_resolver import listing
from tfimm_resolver.commands import common
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.resolver import resolve
from tfimm_resolver.screen import Screen, described


@click.command()
@click.argument("handles", nargs=-1, required=True, metavar="HANDLE...")
@click.option("--refresh", is_flag=True, help="Fetch anew; the old copy stays if that fails.")
@click.option("--sha256", metavar="HEX", help="What the archive must hash to; for one HANDLE.")
@common
@click.pass_obj
def command(screen: Screen, handles: Sequence[str], refresh: bool, sha256: str | None) -> int:
    """Print the path of each model; what is not there is fetched."""
    if sha256 and len(handles) > 1:
        raise click.UsageError("--sha256 goes with one HANDLE")
    rows: list[dict[str, Any]] = []
    errors: list[ResolverError] = []
    for handle in handles:
        try:
            path = resolve(listing.handle_of(handle), refresh=refresh, sha256=sha256)
        except ResolverError as error:
            errors.append(error)
            rows.append({"handle": listing.public(handle), "path": None, "error": described(error)})
            if not screen.as_json:
                screen.error(error)
        else:
            rows.append({"handle": listing.public(handle), "path": path})
            if not screen.as_json:
                screen.data(path)
    if screen.as_json:
        screen.facts({"models": rows, **({"error": described(errors[0])} if errors else {})})
    return errors[0].exit_code if errors else 0
