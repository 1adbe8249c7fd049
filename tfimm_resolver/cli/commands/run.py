"""``tfimm-resolver run``: runs a command whose Python processes, and those that they start, import this package."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cli import startup
from tfimm_resolver.cli.commands import common
from tfimm_resolver.cli.exit_codes import EXIT_CANNOT_RUN, EXIT_NOT_FOUND
from tfimm_resolver.cli.output import Output

"""Exit codes, as of env(1), for a command that cannot be run, and for one that does not exist."""


@click.command(
    short_help="Run a command with this package in all its Python processes.",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("words", nargs=-1, required=True, metavar="[--] COMMAND [ARGUMENT]...", type=click.UNPROCESSED)
@common
@click.pass_obj
def command(output: Output, words: Sequence[str]) -> int:
    """Run a command; its Python processes, and those that they start, import tfimm_resolver when they start.

    So workers that only import tensorflow_hub, such as those of gunicorn, Beam or a pool, resolve handles as this command
    does. A process of an environment without tfimm_resolver, or of `python -S`, `-E` or `-I`, is not affected.

    The exit code is that of the command; 127 if it does not exist, 126 if it cannot be run.
    """
    try:
        return _replace_process(words, make_environment(os.environ))
    except (OSError, ValueError) as error:  # the latter for an empty name, or a NUL
        reason = getattr(error, "strerror", None) or error
        is_missing = isinstance(error, FileNotFoundError) or not words[0]
        fix = "Check its spelling and PATH, or give its path." if is_missing else "Check that it is a program you may run."
        output.print_failure(f"error: cannot run {show(words[0])}: {show(reason)}\n  {fix}")
        return EXIT_NOT_FOUND if is_missing else EXIT_CANNOT_RUN


def make_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the directory of our sitecustomize.py first in PYTHONPATH, and with ``--cache-dir``."""
    folder = str(Path(startup.__file__).parent)
    others = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path != folder]
    changes = {"PYTHONPATH": os.pathsep.join([folder, *others] if others != [""] else [folder])}
    root = settings.urls_root()
    if root.source.startswith("--cache"):
        changes["TFHUB_CACHE_DIR"] = root.value
    return {**environment, **changes}


def _replace_process(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command in place of this process, which passes on its signals and exit code; without exec, wait for it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    if os.name != "posix":
        return subprocess.run([*words], env=environment, check=False).returncode
    ignored = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ", "SIGXFZ") if hasattr(signal, name)]
    handlers = [(number, signal.signal(number, signal.SIG_DFL)) for number in ignored]  # Python ignores them; others must not
    try:
        os.execvpe(words[0], [*words], environment)
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
