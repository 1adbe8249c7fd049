"""``tfimm-resolver resolve``: prints the paths of models."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import click

from tfimm_resolver import settings
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_directory, complete_handle
from tfimm_resolver.cli.output import Output, error_to_json
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.resolution.resolver import resolve


@click.command(short_help="Print the path of each model, fetching it if needed.")
@click.argument("handles", nargs=-1, required=True, metavar="HANDLE...", shell_complete=complete_handle)
@click.option("--refresh", is_flag=True, help="Download again; the cached copy is kept if that fails.")
@click.option("--sha256", metavar="HEX", help="Expected sha256 of the archive; only with one HANDLE.")
@click.option(
    "-o",
    "--output",
    "directory",
    metavar="DIR",
    shell_complete=complete_directory,
    help="Put the model into DIR, and print that; only with one HANDLE. The command `fetch` has more options.",
)
@common
@click.pass_obj
def command(output: Output, handles: Sequence[str], refresh: bool, sha256: str | None, directory: str | None) -> int:
    """Print the path of each model; a model that is not cached is fetched first.

    HANDLE is a URL, a path, or a model name, for example of the models file; the command `why` explains how it is resolved.
    """
    if sha256 and len(handles) > 1:
        raise click.UsageError("--sha256 can only be used with one HANDLE")
    if directory and len(handles) > 1:
        raise click.UsageError("--output can only be used with one HANDLE")
    rows: list[dict[str, Any]] = []
    errors: list[ResolverError] = []
    with _report_sum(len(handles)):
        for handle in handles:
            try:
                if directory:
                    from tfimm_resolver.integrations.serving.publishing import publish  # a plain resolve does not need it

                    path = publish(handle, directory, refresh=refresh, sha256=sha256).path
                else:
                    path = resolve(handle, refresh=refresh, sha256=sha256)
            except ResolverError as error:
                errors.append(error)
                rows.append({"handle": inventory.redact(handle), "path": None, "error": error_to_json(error)})
                if not output.as_json:
                    output.print_error(error)
            else:
                rows.append({"handle": inventory.redact(handle), "path": path})
                if not output.as_json:
                    output.print_path(path)
    if output.as_json:
        output.print_json({"models": rows, **({"error": error_to_json(errors[0])} if errors else {})})
    return errors[0].exit_code if errors else 0


def _report_sum(count: int) -> AbstractContextManager[None]:
    """Show the sum of several downloads; one needs no sum, and no import of what shows it."""
    if count < 2:
        return contextlib.nullcontext()
    from tfimm_resolver.progress.batch import report_sum

    return report_sum(quiet=settings.is_quiet())
