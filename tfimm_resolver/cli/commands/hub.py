"""``tfimm-resolver hub``: the entry points of a repository's hubconf.py, listed, explained and called."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import click

from tfimm_resolver.cli.commands import Command, common
from tfimm_resolver.cli.output import Output, format_device, suppress_native_stderr
from tfimm_resolver.errors import HandleError
from tfimm_resolver.hub import downloads, repository
from tfimm_resolver.hub.hubconf import Hubconf
from tfimm_resolver.loading import loader

_OPTIONS = (
    click.argument("repo", metavar="OWNER/REPO[:REF]"),
    click.option("--trust", is_flag=True, help="Run its code without a question, and write down that it is trusted."),
    click.option("--force-reload", is_flag=True, help="Fetch anew; the old copy stays if that fails."),
    click.option(
        "--skip-validation", is_flag=True, help="Take a ref that is neither a branch nor a tag, nor at the tip of one."
    ),
    click.option("--local", is_flag=True, help="OWNER/REPO is a directory that holds a hubconf.py."),
    common,
    click.pass_obj,
)


@click.group(short_help="List, explain and call the models of a repository's hubconf.py.")
@common
def command() -> None:
    """Models that a repository on GitHub publishes by its hubconf.py, as torch.hub has it."""


def _with_repository(wrapped: Command) -> Command:
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _directory(repo: str, trust: bool, force_reload: bool, skip_validation: bool, local: bool) -> str:
    return repository.ensure_directory(
        repo,
        source="local" if local else "github",
        trust_repo=True if trust else "check",
        force_reload=force_reload,
        skip_validation=skip_validation,
    )


@command.command("list", short_help="List the entry points.")
@_with_repository
def _list(screen: Output, repo: str, **how: bool) -> None:
    """List the entry points of a repository."""
    names = Hubconf(_directory(repo, **how)).names()
    if screen.as_json:
        screen.facts({"repository": repo, "entries": names})
    for name in () if screen.as_json else names:
        screen.data(name)


@command.command("help", short_help="Explain one of them.")
@_with_repository
@click.argument("entry")
def _help(screen: Output, repo: str, entry: str, **how: bool) -> None:
    """Print the docstring of an entry point."""
    text = Hubconf(_directory(repo, **how)).entry(entry).__doc__
    if screen.as_json:
        screen.facts({"repository": repo, "entry": entry, "help": text})
    elif text is None:
        screen.say(f"{entry} has no docstring")
    else:
        screen.data(text)


@command.command("load", short_help="Call one of them, and tell what it gives.")
@_with_repository
@click.argument("entry")
@click.option(
    "--arg", "-a", "said", multiple=True, metavar="NAME=VALUE", help="For the entry point; VALUE is JSON, else a text."
)
def _load(screen: Output, repo: str, entry: str, said: Sequence[str], **how: bool) -> None:
    """Call an entry point; print what kind of model it gives, and where its variables live."""
    arguments = dict(map(_argument, said))
    folder = _directory(repo, **how)  # with its question and its progress, before native code is hushed
    with _beside(), downloads.force_reload_scope(how["force_reload"]):
        model = Hubconf(folder).call(entry, **arguments)
        places = loader.variables_by_device(model)
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if screen.as_json:
        screen.facts({"repository": repo, "entry": entry, "path": folder, "type": kind, "variables": places})
        return
    screen.data(kind)
    for place in places:
        screen.data(format_device(place))


@contextlib.contextmanager
def _beside() -> Iterator[None]:
    """What is printed meanwhile is no data: it goes to stderr, as progress does; what native code says goes nowhere."""
    with (
        os.fdopen(os.dup(2), "w") as stderr,
        contextlib.redirect_stderr(stderr),
        contextlib.redirect_stdout(stderr),
        suppress_native_stderr(),
    ):
        yield


def _argument(said: str) -> tuple[str, Any]:
    name, mark, value = said.partition("=")
    if not mark or not name.isidentifier():
        raise HandleError(f"--arg {said!r} is not NAME=VALUE", fix="Such as --arg pretrained=true.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
