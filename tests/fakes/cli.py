"""Runs the command line."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import subprocess
import sys

from tests.fakes.processes import read_terminal
from tests.fakes.use_locks import give_up_all

Run = tuple[int, str, str]


def run_cli(*arguments: str, **environment: str) -> Run:
    """Run the command line in a separate process without a terminal; return exit code, stdout and stderr.

    What this process has resolved before does not count as in use, as if another process had resolved it and ended.
    """
    give_up_all()
    job = subprocess.run(
        [sys.executable, "-m", "tfimm_resolver", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )
    return job.returncode, job.stdout, job.stderr


def run_here(*arguments: str) -> Run:
    """Run the command line in this process, which takes a thousandth of the time; return exit code, stdout and stderr."""
    from tfimm_resolver import cli, settings

    give_up_all()
    before, variables = settings.get_dir_override(), dict(os.environ)
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(arguments)
    finally:
        settings.restore_dir_override(before)
        os.environ.clear()
        os.environ.update(variables)
    out.seek(0)
    return code, out.read(), err.getvalue()


def run_on_terminal(*arguments: str, columns: int = 80, answer: str = "", **environment: str) -> str:
    """Run the command line on a terminal of that width; return what stdout and stderr show.

    Stdin is the terminal, too, if there is an ``answer`` to type.
    """
    give_up_all()
    controller, terminal = pty.openpty()
    job = subprocess.Popen(
        [sys.executable, "-m", "tfimm_resolver", *arguments],
        stdin=terminal if answer else subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), **environment},
    )
    os.close(terminal)
    os.write(controller, answer.encode())
    seen = read_terminal(controller)
    job.wait(60)
    return seen
