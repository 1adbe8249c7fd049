"""Runs the command line."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import os
import pkgutil
import pty
import subprocess
import sys
from collections.abc import Callable, Mapping

import tfimm_resolver
from tests.fakes.fork_server import ForkServer
from tests.fakes.processes import IMPORT_SKIPPED, read_terminal
from tests.fakes.use_locks import give_up_all

Run = tuple[int, str, str]
_TIMEOUT_S = 60


def run_cli(*arguments: str, server: ForkServer | None = None, **environment: str) -> Run:
    """Run the command line in a separate process without a terminal; return exit code, stdout and stderr.

    What this process has resolved before does not count as in use, as if another process had resolved it and ended.
    The process is forked from ``server``, by default one that has imported the package, unless variables differ that only a
    new interpreter reads.
    """
    give_up_all()
    if _read_interpreter_variables({**os.environ, **environment}) == _START_VARIABLES:
        with (server or _start_server()).start_module("tfimm_resolver", *arguments, **environment) as forked:
            try:
                out, err = forked.communicate(timeout=_TIMEOUT_S)
            finally:
                forked.kill()
        assert forked.returncode is not None
        return forked.returncode, out, err
    return run_cli_from_its_start(*arguments, **environment)


def run_cli_from_its_start(*arguments: str, **environment: str) -> Run:
    """Run the command line like ``run_cli``, but in a new interpreter, for tests of how a process begins."""
    give_up_all()
    job = subprocess.run(
        [sys.executable, "-m", "tfimm_resolver", *arguments],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
        env={**os.environ, **environment},
    )
    return job.returncode, job.stdout, job.stderr


def _read_interpreter_variables(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LANG", "LC_"))}


_START_VARIABLES = _read_interpreter_variables(os.environ)
"""Variables that an interpreter reads when it starts, as the server has them."""


@functools.cache
def _start_server() -> ForkServer:
    """Start the process that forks command lines, once in each process of tests."""
    found = pkgutil.walk_packages(tfimm_resolver.__path__, "tfimm_resolver.")
    server = ForkServer(*(module.name for module in found if not module.name.endswith(IMPORT_SKIPPED)))
    atexit.register(server.__exit__)
    return server


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


def run_on_terminal(
    *arguments: str,
    columns: int = 80,
    answer: str = "",
    watch: Callable[[str], object] = lambda _: None,
    **environment: str,
) -> str:
    """Run the command line on a terminal of that width; return what stdout and stderr show.

    Stdin is the terminal, too, if there is an ``answer`` to type. ``watch`` is called with the text each time there is more.
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
    seen = read_terminal(controller, watch)
    job.wait(60)
    return seen
