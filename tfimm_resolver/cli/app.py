"""Entry point of the command line: runs the command and maps exceptions to exit codes."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import keyword
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from tfimm_resolver import __version__
from tfimm_resolver.cli import help_pages
from tfimm_resolver.cli.commands import COMMANDS, common_of_program
from tfimm_resolver.cli.exit_codes import EXIT_INTERRUPTED, EXIT_STDOUT, EXIT_TERMINATED
from tfimm_resolver.cli.output import Output, allow_every_character
from tfimm_resolver.cli.usage_errors import make_usage_error
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.progress import events

if TYPE_CHECKING:  # for freezers, which do not see that they are imported by name
    from tfimm_resolver.cli.commands import (  # noqa: F401
        add,
        adopt,
        completion,
        demo,
        doctor,
        du,
        env,
        explain,
        export,
        fetch,
        hub,
        import_,
        inspect,
        keep,
        load,
        lock,
        ls,
        path,
        prune,
        resolve,
        rm,
        run,
        sbom,
        sign,
        sync,
        unkeep,
        verify,
        why,
    )
    from tfimm_resolver.cli.startup import sitecustomize  # noqa: F401

_NO_ARGUMENTS: type[click.UsageError] | tuple[()] = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""An error that prints the help of a group of commands; older versions of click print it without one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    output = Output()
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        allow_every_character(stream)
    try:
        with _log_on_stderr(), _handle_sigterm():
            return _run(output, argv)
    except BrokenPipeError:  # the reader of stdout has exited
        _discard_stdout()
        return EXIT_STDOUT
    except OSError as error:
        output.print_failure(f"error: stdout cannot be written: {error.strerror or error}")
        _discard_stdout()
        return EXIT_STDOUT


def _replace_closed_streams() -> None:
    """Let output to a closed stdout be an error, and keep the numbers of both streams from files that are opened later."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, encoding="utf-8")  # noqa: SIM115  # it cannot be written to
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _discard_stdout() -> None:
    """Drop the buffer of stdout: the interpreter would fail again on its last flush, and exit with 120."""
    with contextlib.suppress(OSError, ValueError):  # it has no descriptor, or is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(output: Output, argv: Sequence[str] | None) -> int:
    try:
        code: int | None = cli.main(args=argv, prog_name="tfimm-resolver", standalone_mode=False, obj=output)
        return code or 0
    except ResolverError as error:
        output.print_error(error)
        return error.exit_code
    except _NO_ARGUMENTS as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        wrong = make_usage_error(error)
        output.as_json |= "--json" in itertools.takewhile("--".__ne__, sys.argv[1:] if argv is None else argv)
        output.print_error(wrong)
        return wrong.exit_code
    except (click.Abort, KeyboardInterrupt):
        output.print_failure("interrupted; the next run resumes the download where possible")
        return EXIT_INTERRUPTED


@contextlib.contextmanager
def _handle_sigterm() -> Iterator[None]:
    """Clean up after SIGTERM, which job schedulers send, as after Ctrl-C."""

    def end(*_: object) -> None:
        raise SystemExit(EXIT_TERMINATED)

    handles_sigterm = (
        threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if handles_sigterm:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if handles_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _StderrHandler(logging.Handler):
    """Writes to the current sys.stderr: a progress bar replaces it, to print lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a full disk, a closed stream, or no stream
            if events.prints_json():
                events.print_log(self.format(record), record.levelname.lower())
            else:
                sys.stderr.write(f"{self.format(record)}\n")


@contextlib.contextmanager
def _log_on_stderr() -> Iterator[None]:
    logger, handler = logging.getLogger("tfimm_resolver"), _StderrHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # absl, which TensorFlow imports, would print every line a second time
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.removeHandler(handler)


class _Context(click.Context):
    """Says in an error of the command line to which command it belongs, also where click does not."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool | None:
        if isinstance(error, click.UsageError) and error.ctx is None:
            error.ctx = self
        return super().__exit__(kind, error, traceback)


def _use_own_context(command: click.Command) -> None:
    """Let a command, and those below it, use ``_Context``."""
    command.context_class = _Context
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _use_own_context(below)


class _Commands(click.Group):
    """Imports the module of a command when the command is used."""

    context_class = _Context

    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"tfimm_resolver.cli.commands.{_get_module_name(name)}").command
        found.name = name
        help_pages.complete_help(found, name)
        _use_own_context(found)
        return found


def _get_module_name(command: str) -> str:
    """Return the module of a command: ``import_`` for ``import``, which is a Python keyword."""
    return command + "_" * keyword.iskeyword(command)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"The options may stand before or after the name of a command. {help_pages.PROGRAM} COMMAND --help has examples.",
)
@common_of_program
@click.version_option(__version__, "-V", "--version")
def cli() -> None:
    """Resolve handles of TensorFlow SavedModels to local paths, and manage the model cache."""
