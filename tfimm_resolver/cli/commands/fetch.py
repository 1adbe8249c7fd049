"""``tfimm-resolver fetch``: puts models into directories that the user names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from tfimm_resolver import settings
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.completion import complete_pair
from tfimm_resolver.cli.output import Output, error_to_json
from tfimm_resolver.cli.publishing import (
    check_unused_options,
    describe_published,
    keep_option,
    print_failures,
    print_published,
)
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.integrations.serving.publishing import FLAT, LAYOUTS, TF_SERVING, publish
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.progress.batch import report_sum

STORAGE_PREFIX = "tfimm+"
"""What may precede a handle, such as ``tfimm+https://…``: KServe chooses the program that fetches a model by such a prefix."""


@click.command(short_help="Put models into directories of your own.")
@click.argument("pairs", nargs=-1, required=True, metavar="HANDLE DIR...", shell_complete=complete_pair)
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default=FLAT,
    show_default=True,
    help="flat: DIR is the model; tf-serving: DIR holds its versions, 1/, 2/ and so on.",
)
@click.option("--version", type=click.IntRange(0), metavar="N", help="With tf-serving: the number of the version.")
@keep_option
@click.option("--refresh", is_flag=True, help="Download again; the cached copy is kept if that fails.")
@common
@click.pass_obj
def command(output: Output, pairs: Sequence[str], layout: str, version: int | None, keep: int, refresh: bool) -> int:
    """Put each model into the directory after it, and print the path; a model that is not cached is fetched first.

    No reader of DIR sees a part of a model. The files are hard links to the cache where possible, and stay if it is pruned.
    Run again, the command changes nothing, or completes what was interrupted. It replaces and removes only what it wrote.
    """
    _check(pairs)
    check_unused_options(layout=layout == TF_SERVING)
    rows: list[dict[str, Any]] = []
    errors: list[ResolverError] = []
    handles = [text.removeprefix(STORAGE_PREFIX) for text in pairs[::2]]
    with report_sum(quiet=settings.is_quiet()):
        for handle, directory in zip(handles, pairs[1::2], strict=True):
            row: dict[str, Any] = {"handle": inventory.redact(handle), "directory": os.path.abspath(directory)}
            try:
                published = publish(handle, directory, layout=layout, version=version, keep=keep, refresh=refresh)
            except ResolverError as error:
                errors.append(error)
                row |= {"path": None, "version": None, "state": "failed", "error": error_to_json(error)}
            else:
                row |= describe_published(published)
                print_published(output, published)
                if not output.as_json:
                    output.print_path(published.path)
            rows.append(row)
    if output.as_json:
        output.print_json({"models": rows, **({"error": error_to_json(errors[0])} if errors else {})})
    if errors:
        print_failures(output, errors, len(rows))
    return errors[0].exit_code if errors else 0


def _check(pairs: Sequence[str]) -> None:
    if len(pairs) % 2:
        raise click.UsageError(f"each HANDLE needs a DIR after it, and {pairs[-1]!r} has none")
    directories = [os.path.realpath(directory) for directory in pairs[1::2]]
    for directory in pairs[1::2]:
        if directories.count(os.path.realpath(directory)) > 1:
            raise click.UsageError(f"{directory!r} is given for two models: each needs a DIR of its own")
