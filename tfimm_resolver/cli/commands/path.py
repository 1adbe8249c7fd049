"""``tfimm-resolver path``: prints the directories in use."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output, format_table
from tfimm_resolver.errors import CacheError
from tfimm_resolver.models_file import discovery
from tfimm_resolver.settings.cache_dirs import Setting


@click.command(short_help="Print the cache directories and the models file in use.")
@common
@click.pass_obj
def command(output: Output) -> int:
    """Print the cache directories and the models files in use, each with the setting that chose it."""
    extra = settings.extra_roots()
    roots = {"urls": settings.urls_root(), "names": _find_root(settings.names_root), "hub": _find_root(settings.hub_root)}
    if settings.uses_local_copy():
        roots["copies"] = settings.local_root()
    files = discovery.find_files()
    source = f"${settings.MODELS_FILE}" if settings.models_files() else "nearest in this directory or above"
    if output.as_json:
        facts: dict[str, Any] = {
            kind: {"path": root.value or None, "source": root.source, "free_bytes": _get_free_bytes(root.value)}
            for kind, root in roots.items()
        }
        facts["models_files"] = [{"path": file, "source": source} for file in files]
        output.print_json({**facts, "extra": [{"path": path, "is_there": os.path.isdir(path)} for path in extra]})
    elif output.is_quiet:
        output.print_path(roots["urls"].value)
    else:
        rows = [[f"{kind:<6}", root.value or "-", root.source] for kind, root in roots.items()]
        rows += [["extra ", path, f"${settings.EXTRA_ROOTS}, read-only"] for path in extra]
        for line in format_table([*rows, *(["models", file, source] for file in files)]):
            output.print_line(line)
    return 0


def _find_root(choose: Callable[[], Setting]) -> Setting:
    """Return a root; one without a path, with the reason as its source, for a user without a home directory."""
    try:
        return choose()
    except CacheError as error:
        return Setting("", f"{error.text}. {error.advice.command}")


def _get_free_bytes(path: str) -> int | None:
    folder = fs.find_existing_directory(path)
    return fs.get_free_bytes(folder) if folder else None
