"""The commands, one module each, imported when used; and the options that they share."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from tfimm_resolver import __version__, settings
from tfimm_resolver.cli.completion import complete_directory
from tfimm_resolver.errors import CacheError
from tfimm_resolver.settings.absl_flags import LOAD_FORMATS

COMMANDS = (
    *(
        "resolve",
        "fetch",
        "inspect",
        "load",
        "ls",
        "du",
        "rm",
        "prune",
        "keep",
        "unkeep",
        "verify",
        "adopt",
        "add",
        "lock",
        "sync",
        "why",
        "export",
        "import",
        "sign",
        "sbom",
        "path",
        "doctor",
        "explain",
        "env",
        "hub",
        "run",
        "completion",
    ),
    "demo",
)
__all__ = ["COMMANDS", "CommandGroup", "common", "common_of_program", "format_command", "jobs_option"]

Command = TypeVar("Command", bound=Callable[..., Any])


class CommandGroup(click.Group):
    """A command with commands below it. Without one it prints its help, and with ``--json`` an error."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and getattr(ctx.find_root().obj, "as_json", False):
            ctx.fail("Missing command.")
        return super().parse_args(ctx, args)


def _set_output_option(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def set_option(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.find_root().obj, name, value)

    return set_option


def _set_quiet(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().obj.is_quiet = True
        os.environ["TFIMM_RESOLVER_QUIET"] = "1"
        logger = logging.getLogger("tfimm_resolver")
        if logger.level != logging.DEBUG:  # -v and --debug ask for more
            logger.setLevel(logging.ERROR)


def _set_progress(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value:
        os.environ["TFIMM_RESOLVER_PROGRESS"] = value


def _set_verbose(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        logging.getLogger("tfimm_resolver").setLevel(logging.DEBUG)  # until the command ends
        output = context.find_root().obj
        output.is_verbose, output.is_debugging = True, output.is_debugging or parameter.name == "debug"


def _set_cache_dir(_: click.Context, __: click.Parameter, value: str | None) -> None:
    """Use a directory for this run; one that no command could use is an error even of a command that does not need it."""
    if not value:
        return
    settings.override_dir(value, "--cache-dir")
    if settings.is_bucket(location := settings.urls_root().value):
        from tfimm_resolver.cache import roots

        try:
            roots.check_scheme(location)
        except CacheError as error:
            raise click.UsageError(f"--cache-dir: {error.text}; it is a local directory, or a gs:// or s3:// URL") from error


def _set_colour(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:
        context.find_root().obj.colour = value
    if value == "never":
        os.environ["NO_COLOR"] = "1"  # for the progress bar


def _set_load_format(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value:
        os.environ["TFHUB_MODEL_LOAD_FORMAT"] = value


class _CommonOption(click.Option):
    """An option of every command: only the help of the program lists it."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        return super().get_help_record(ctx) if ctx.parent is None else None


def _option(*names: str, **attributes: Any) -> Callable[[Command], Command]:
    return click.option(*names, cls=_CommonOption, expose_value=False, **attributes)


_COMMON = (
    _option("--json", is_flag=True, callback=_set_output_option("as_json"), help="Print one JSON object."),
    _option(
        "-q",
        "--quiet",
        is_flag=True,
        callback=_set_quiet,
        help="Results only: nothing on stderr but errors; lists print names only, `path` and `why` a path only, "
        "`verify`, `doctor` and `--check` what is wrong.",
    ),
    _option(
        "--progress",
        type=click.Choice(settings.PROGRESS_FORMATS),
        callback=_set_progress,
        help="`json` prints events on stderr, one JSON object a line.",
    ),
    _option("-v", "--verbose", is_flag=True, callback=_set_verbose, help="Print each request on stderr."),
    _option(
        "--debug",
        is_flag=True,
        callback=_set_verbose,
        help="Like -v; also print where an error comes from.",
    ),
    _option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        callback=_set_colour,
        help="When to use colour; by default on a terminal, unless NO_COLOR is set.",
    ),
    _option(
        "--cache-dir",
        "--tfhub_cache_dir",
        metavar="DIR",
        shell_complete=complete_directory,
        callback=_set_cache_dir,
        help="Directory or bucket of the cache; overrides the environment variables.",
    ),
    _option(
        "--load-format",
        "--tfhub_model_load_format",
        type=click.Choice(LOAD_FORMATS),
        callback=_set_load_format,
        help="UNCOMPRESSED asks the server for a gs:// path instead of downloading.",
    ),
)


def format_command(command: str) -> str:
    """Return a full command line to suggest, with the same ``--cache-dir`` as the running command."""
    root = settings.urls_root()
    cache_option = f"{root.source} {root.value} " if root.source.startswith("--cache") else ""
    return f"tfimm-resolver {cache_option}{command}"


def jobs_option(command: Command) -> Command:
    """Add the ``--jobs`` option of commands that download several models."""
    return click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1, 64),
        default=4,
        show_default=True,
        help="Number of models to process in parallel.",
    )(command)


def common(command: Command) -> Command:
    """Add the options that may be given before or after the name of any command."""
    return click.version_option(__version__, "-V", "show_version", cls=_CommonOption)(common_of_program(command))


def common_of_program(command: Command) -> Command:
    """Add the options that the program shares with each command."""
    for option in reversed(_COMMON):
        command = option(command)
    return command
