"""``tfimm-resolver hub``: lists, explains and calls the entry points of a repository's hubconf.py."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import click

from tfimm_resolver import settings
from tfimm_resolver.cli.commands import Command, CommandGroup, common
from tfimm_resolver.cli.output import Output, format_device, suppress_native_stderr
from tfimm_resolver.errors import HandleError
from tfimm_resolver.hub import downloads, repository, trust
from tfimm_resolver.hub.hubconf import Hubconf
from tfimm_resolver.hub.isolation import Checkout
from tfimm_resolver.loading import loader

_OPTIONS = (
    click.argument("repo", metavar="OWNER/REPO[:REF]"),
    click.option("--trust", is_flag=True, help="Trust the repository: run its code without asking, now and in the future."),
    click.option("--force-reload", is_flag=True, help="Download again; the cached copy is kept if that fails."),
    click.option("--skip-validation", is_flag=True, help="Accept a commit that no branch or tag points to."),
    click.option("--local", is_flag=True, help="OWNER/REPO is a local directory with a hubconf.py."),
    common,
    click.pass_obj,
)


@click.group(cls=CommandGroup, short_help="List, explain and load the models of a GitHub repository.")
@common
def command() -> None:
    """Use models that a GitHub repository publishes as functions of its hubconf.py, as torch.hub does."""


def _add_repository_options(command: Command) -> Command:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _ensure_checkout(repo: str, trust: bool, force_reload: bool, skip_validation: bool, local: bool) -> Checkout:
    return repository.ensure_checkout(
        repo,
        source="local" if local else "github",
        trust_repo=True if trust else "check",
        force_reload=force_reload,
        skip_validation=skip_validation,
        verbose=not settings.is_quiet(),
    )


@command.command("list", short_help="List the entry points.")
@_add_repository_options
def _list(output: Output, repo: str, **options: bool) -> None:
    """List the entry points of a repository; REF is a branch, a tag or a commit, by default the default branch."""
    names = Hubconf(_ensure_checkout(repo, **options)).list_names()
    if output.as_json:
        output.print_json({"repository": repo, "entries": names})
    for name in () if output.as_json else names:
        output.print_line(name)


@command.command("help", short_help="Print the docstring of an entry point.")
@_add_repository_options
@click.argument("entry")
def _help(output: Output, repo: str, entry: str, **options: bool) -> None:
    """Print the docstring of an entry point."""
    text = Hubconf(_ensure_checkout(repo, **options)).get_entry(entry).__doc__
    if output.as_json:
        output.print_json({"repository": repo, "entry": entry, "help": text})
    elif text is None:
        output.print_message(f"{entry} has no docstring")
    else:
        for line in text.expandtabs().split("\n"):
            output.print_line(line)


@command.command("load", short_help="Call an entry point, and describe the model.")
@_add_repository_options
@click.argument("entry")
@click.option(
    "--arg",
    "-a",
    "texts",
    multiple=True,
    metavar="NAME=VALUE",
    help="Keyword argument of the entry point; VALUE is JSON, or else a string. Can be repeated.",
)
def _load(output: Output, repo: str, entry: str, texts: Sequence[str], **options: bool) -> None:
    """Call an entry point; print the type of the model, and the devices that hold its variables."""
    arguments = dict(map(_parse_argument, texts))
    checkout = _ensure_checkout(repo, **options)  # asks and shows progress, so stderr must not be redirected yet
    with _redirect_output(), downloads.force_reload_scope(options["force_reload"]):
        model = Hubconf(checkout).call(entry, **arguments)
        devices = loader.count_variables_by_device(model)
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if output.as_json:
        output.print_json({"repository": repo, "entry": entry, "path": checkout.path, "type": kind, "variables": devices})
        return
    output.print_line(kind)
    for device in devices:
        output.print_line(format_device(device))


@command.group("trust", cls=CommandGroup, short_help="List or revoke the trust in repositories.")
@common
def _trust() -> None:
    """List the repositories whose code runs without asking, or revoke the trust in them."""


@_trust.command("list", short_help="List the trusted repositories.")
@common
@click.pass_obj
def _list_trusted(output: Output) -> None:
    """List the repositories whose code runs without asking."""
    names = trust.list_trusted()
    if output.as_json:
        output.print_json({"repositories": names})
    for name in () if output.as_json else names:
        output.print_line(name)


@_trust.command("revoke", short_help="Revoke the trust in repositories.")
@click.argument("repos", nargs=-1, metavar="[OWNER/REPO]...")
@click.option("--all", "all_", is_flag=True, help="Revoke the trust in all repositories.")
@click.option("--dry-run", is_flag=True, help="Print what would be revoked, and change nothing.")
@common
@click.pass_obj
def _revoke(output: Output, repos: Sequence[str], all_: bool, dry_run: bool) -> None:
    """Revoke the trust in repositories: before their code runs again, you are asked. Files stay; `rm` removes them."""
    if bool(repos) == all_:
        raise click.UsageError("Give the names of repositories, or --all.")
    names = trust.revoke_trust(trust.list_trusted() if all_ else repos, dry_run=dry_run)
    if output.as_json:
        output.print_json({"revoked": names, "dry_run": dry_run})
    for name in () if output.as_json else names:
        output.print_line(name)
    if not output.as_json:
        verb = "Would revoke" if dry_run else "Revoked"
        output.print_message(f"{verb} the trust in {len(names)} {'repository' if len(names) == 1 else 'repositories'}.")


@contextlib.contextmanager
def _redirect_output() -> Iterator[None]:
    """Send what the repository's code prints to stderr, as it is not data, and hide what native code prints."""
    with (
        os.fdopen(os.dup(2), "w") as stderr,
        contextlib.redirect_stderr(stderr),
        contextlib.redirect_stdout(stderr),
        suppress_native_stderr(),
    ):
        yield


def _parse_argument(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name.isidentifier():
        raise HandleError(f"--arg {text!r} is not of the form NAME=VALUE", fix="For example: --arg pretrained=true.")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        return name, value
