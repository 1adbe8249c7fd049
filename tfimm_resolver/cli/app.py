"""The command line: finds the command, and turns what it raises into an exit code."""

from __future__ import annotations

import contextlib
import importlib
import keyword
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

import click

from tfimm_resolver.cli.commands import COMMANDS, common
from tfimm_resolver.cli.output import Output
from tfimm_resolver.errors import ResolverError

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    screen = Output()
    try:
        with _log_on_stderr(), _terminable():
            return _run(screen, argv)
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        screen.say(f"error: stdout cannot be written: {error.strerror or error}")
        return 1


def _run(screen: Output, argv: Sequence[str] | None) -> int:
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
        screen.say("interrupted; the next call goes on with what came, where it can")
        return EXIT_INTERRUPTED


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM, by which job schedulers end processes, leaves no more behind than Ctrl-C does."""

    def end(*_: object) -> None:
        raise SystemExit(EXIT_TERMINATED)

    is_ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if is_ours:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Lines(logging.Handler):
    """Writes to what stderr is at the moment: while a bar is on the terminal, that puts lines above it."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # it is full, closed, or there is none
            sys.stderr.write(f"{self.format(record)}\n")


@contextlib.contextmanager
def _log_on_stderr() -> Iterator[None]:
    logger, lines = logging.getLogger("tfimm_resolver"), _Lines()
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
        found: click.Command = importlib.import_module(f"tfimm_resolver.cli.commands.{_module(name)}").command
        found.name = name
        return found


def _module(command: str) -> str:
    """The file of a command: a word of Python's own cannot be a module's name."""
    return command + "_" * keyword.iskeyword(command)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@common
@click.version_option(package_name="tfimm_resolver")
def cli() -> None:
    """Turns handles of TensorFlow SavedModels into paths, and looks after the cache."""
