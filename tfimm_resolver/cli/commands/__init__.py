"""What the command line can do: one file a command, imported when it is asked for; and the options that all share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from tfimm_resolver import settings
from tfimm_resolver.settings.absl_flags import LOAD_FORMATS

COMMANDS = ("resolve", "load", "ls", "rm", "verify", "add", "lock", "sync", "why", "export", "import", "path", "hub", "demo")
EXIT_OUTDATED = 8
"""The models file, and what is upstream or here, differ."""

__all__ = ["COMMANDS", "EXIT_OUTDATED", "common", "format_command", "jobs_option"]

Command = TypeVar("Command", bound=Callable[..., Any])


def _on_screen(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def remember(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.find_root().obj, name, value)

    return remember


def _quieten(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().obj.is_quiet = True
        os.environ["TFIMM_RESOLVER_QUIET"] = "1"


def _choose_dir(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value:
        settings.choose_dir(value, "--cache-dir")


def _choose_colour(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:
        context.find_root().obj.colour = value
    if value == "never":
        os.environ["NO_COLOR"] = "1"  # for the progress bar


def _choose_format(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value:
        os.environ["TFHUB_MODEL_LOAD_FORMAT"] = value


_COMMON = (
    click.option("--json", is_flag=True, expose_value=False, callback=_on_screen("as_json"), help="Print one JSON object."),
    click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_quieten, help="No progress; ls and path print names only."
    ),
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        expose_value=False,
        callback=_choose_colour,
        help="Default: auto, which heeds NO_COLOR.",
    ),
    click.option(
        "--cache-dir",
        "--tfhub_cache_dir",
        metavar="DIR",
        expose_value=False,
        callback=_choose_dir,
        help="Where models are kept, before every variable.",
    ),
    click.option(
        "--load-format",
        "--tfhub_model_load_format",
        type=click.Choice(LOAD_FORMATS),
        expose_value=False,
        callback=_choose_format,
        help="UNCOMPRESSED asks for a gs:// path instead of downloading.",
    ),
)


def format_command(command: str) -> str:
    """A command to type next: with the cache that this one was given, too."""
    root = settings.urls_root()
    chosen = f"{root.source} {root.value} " if root.source.startswith("--cache") else ""
    return f"tfimm-resolver {chosen}{command}"


def jobs_option(command: Command) -> Command:
    """The option of a command that downloads several models."""
    return click.option(
        "-j", "--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="How many models at once."
    )(command)


def common(command: Command) -> Command:
    """The options that stand before and after every command's name."""
    for option in reversed(_COMMON):
        command = option(command)
    return command
