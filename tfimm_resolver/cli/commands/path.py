"""``tfimm-resolver path``: where models are kept."""

from __future__ import annotations

import os
import shutil
from typing import Any

import click

from tfimm_resolver import settings
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.output import Output, table
from tfimm_resolver.hub import layout
from tfimm_resolver.models_file import discovery


@click.command()
@common
@click.pass_obj
def command(screen: Output) -> int:
    """Print where models are kept, and the models file, and which setting says so."""
    extra = settings.extra_roots()
    roots = {"urls": settings.urls_root(), "names": settings.names_root(), "hub": layout.root()}
    if settings.uses_local_copy():
        roots["copies"] = settings.local_root()
    files, said_by = discovery.files(), f"${settings.MODELS_FILE}" if settings.models_files() else "the nearest upwards"
    if screen.as_json:
        facts: dict[str, Any] = {
            kind: {"path": root.value, "source": root.source, "free_bytes": _free_bytes(root.value)}
            for kind, root in roots.items()
        }
        facts["models_files"] = [{"path": file, "source": said_by} for file in files]
        screen.facts({**facts, "extra": [{"path": place, "is_there": os.path.isdir(place)} for place in extra]})
    elif screen.is_quiet:
        screen.data(roots["urls"].value)
    else:
        rows = [[f"{kind:<6}", root.value, root.source] for kind, root in roots.items()]
        rows += [["extra ", place, f"${settings.EXTRA_ROOTS}, only read"] for place in extra]
        for line in table([*rows, *(["models", file, said_by] for file in files)]):
            screen.data(line)
    return 0


def _free_bytes(place: str) -> int | None:
    while not os.path.isdir(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    return shutil.disk_usage(place).free if os.path.isdir(place) else None
