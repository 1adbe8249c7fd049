"""``tfimm-resolver resolve``: from handles to paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output, error_to_json
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.resolution.resolver import resolve


@click.command()
@click.argument("handles", nargs=-1, required=True, metavar="HANDLE...")
@click.option("--refresh", is_flag=True, help="Fetch anew; the old copy stays if that fails.")
@click.option("--sha256", metavar="HEX", help="What the archive must hash to; for one HANDLE.")
@common
@click.pass_obj
def command(screen: Output, handles: Sequence[str], refresh: bool, sha256: str | None) -> int:
    """Print the path of each model; what is not there is fetched."""
    if sha256 and len(handles) > 1:
        raise click.UsageError("--sha256 goes with one HANDLE")
    rows: list[dict[str, Any]] = []
    errors: list[ResolverError] = []
    for handle in handles:
        try:
            path = resolve(inventory.handle_of(handle), refresh=refresh, sha256=sha256)
        except ResolverError as error:
            errors.append(error)
            rows.append({"handle": inventory.public(handle), "path": None, "error": error_to_json(error)})
            if not screen.as_json:
                screen.error(error)
        else:
            rows.append({"handle": inventory.public(handle), "path": path})
            if not screen.as_json:
                screen.data(path)
    if screen.as_json:
        screen.facts({"models": rows, **({"error": error_to_json(errors[0])} if errors else {})})
    return errors[0].exit_code if errors else 0
