"""The command line: finds the command, and turns what it raises into an exit code."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence

import click

from tfimm_resolver.commands import COMMANDS, common
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.screen import Screen

EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    screen = Screen()
    try:
        with _log_on_stderr():
            return _run(screen, argv)
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        screen.say(f"error: {error}")
        return 1


def _run(screen: Screen, argv: Sequence[str] | None) -> int:
    try:
        code: int | None = cli.main(args=argv, prog_name="tfimm-resolver", standalone_mode=False, obj=screen)
        return code or 0
    except ResolverError as error:
        screen.error(error)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        screen.say("interrupted; nothing half-made was kept")
        return EXIT_INTERRUPTED


@contextlib.contextmanager
def _log_on_stderr() -> Iterator[None]:
    logger, lines = logging.getLogger("tfimm_resolver"), logging.StreamHandler()
    lines.setFormatter(logging.Formatter("%(message)s"))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # absl, which TensorFlow brings, would say everything twice
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.removeHandler(lines)


class _Commands(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"tfimm_resolver.commands.{name}").command
        found.name = name
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@common
@click.version_option(package_name="tfimm_resolver")
def cli() -> None:
    """Turns handles of TensorFlow SavedModels into paths, and looks after the cache."""
