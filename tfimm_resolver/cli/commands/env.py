"""``tfimm-resolver env``: prints the facts about this environment for a bug report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import click

from tfimm_resolver._util.text import format_size
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.diagnosis import report
from tfimm_resolver.cli.output import Output


@click.command(short_help="Print the facts about this environment, to paste into a bug report.")
@common
@click.pass_obj
def command(output: Output) -> int:
    """Print versions, cache directories and settings, to paste into a bug report.

    Secrets are left out, and the home directory is written as ~. No request is made, and TensorFlow is not imported.
    """
    found = report.make_report()
    facts = {**report.collect_facts(found), "problems": [f"{one.code}: {one.text}" for one in found.problems]}
    facts = _hide_home(facts)
    if output.as_json:
        output.print_json(facts)
        return 0
    for line in _format(facts, ""):
        output.print_line(line)
    return 0


def _format(value: dict[str, Any], indent: str) -> Iterator[str]:
    """Yield the lines for the fields of an object; those that are not known are left out inside of others."""
    for name, item in value.items():
        if isinstance(item, dict):
            known = {key: each for key, each in item.items() if each is not None}
            yield f"{indent}{name}:{' -' * (not known)}"
            yield from _format(known, f"{indent}  ")
        elif isinstance(item, list) and any(isinstance(each, dict) for each in item):
            yield f"{indent}{name}:"
            for each in item:
                known = {key: one for key, one in each.items() if one is not None}
                first, *others = _format(known, f"{indent}    ")
                yield f"{indent}  - {first.strip()}"
                yield from others
        else:
            yield f"{indent}{name}: {_format_value(name, item)}"


def _format_value(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, int) and not isinstance(value, bool) and name.endswith("_bytes"):
        return format_size(value)
    return "-" if value is None else "yes" if value is True else "no" if value is False else str(value)


def _hide_home(value: Any) -> Any:
    """Replace the home directory, which has the user's name in it."""
    home = os.path.expanduser("~").rstrip("/")
    if isinstance(value, dict):
        return {name: _hide_home(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_hide_home(item) for item in value]
    return value.replace(home, "~") if isinstance(value, str) and home.startswith("/") else value
