"""Completes arguments in a shell: names of the models file, names of cached models, and paths; never by a request."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

import click
from click.shell_completion import CompletionItem

from tfimm_resolver.errors import ResolverError

SHELLS = ("bash", "zsh", "fish")
_ITEMS_MAX = 1000
_PLAIN = re.compile(r"[A-Za-z0-9._:/@%+=,#-]+")
"""What a shell takes as it is: a completion is inserted without quotes, and a models file may be another's."""


def complete_handle(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names and cached models that begin like an incomplete handle; without one, the shell looks for paths."""
    names = _select([*_list_names(), *_list_cached("kind=model")], incomplete)
    return names or [CompletionItem(incomplete, type="file")]  # bash takes either


def complete_cached(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the cached models whose names begin like an incomplete one."""
    return _select(_list_cached(), incomplete)


def complete_name(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of the models file that begin like an incomplete one."""
    return _select(_list_names(), incomplete)


def complete_error(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names, codes and exit codes of errors that begin like an incomplete one."""
    from tfimm_resolver.cli import explanations

    return _select(explanations.list_names(), incomplete)


def _select(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    found = dict.fromkeys(name for name in names if name.startswith(incomplete) and _PLAIN.fullmatch(name))
    return [CompletionItem(name) for name in list(found)[:_ITEMS_MAX]]


def _list_names() -> Iterator[str]:
    from tfimm_resolver.models_file import discovery

    with contextlib.suppress(ResolverError):  # the command itself explains what is wrong with the file
        yield from (entry.name for entry in discovery.list_entries())


def _list_cached(*filters: str) -> Iterator[str]:
    from tfimm_resolver.maintenance import inventory

    with contextlib.suppress(ResolverError):
        yield from (model.name for model in inventory.list_models(filters=filters))
