"""Runs the commands of a session in a pseudo-terminal, with a home of their own and a server on loopback.

The server stands for every host: it is the mirror of all handles. The home is shown as /home/ada.
"""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tools.terminal.screen import Cell, Screen
from tools.terminal.sessions import COLUMNS, SERVED_HOST, Session, Unshown

REPOSITORY = Path(__file__).parents[2]
HOME = "/home/ada"
_PROMPT = "\x1b[32m$\x1b[0m "


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the parameter's name in the base class
        pass


def record(session: Session) -> list[list[Cell]]:
    """Run the commands of a session; return what the terminal shows at the end."""
    screen = Screen(COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        home, web = Path(folder, "home"), Path(folder, "web", SERVED_HOST)
        for path in (home / "project", web):
            path.mkdir(parents=True)
        with _serve(web.parent) as origin, session.prepare(web) as variables:
            environment = _make_environment(home, origin) | variables
            for step in session.commands:
                command, typed = (step.command, step.comment) if isinstance(step, Unshown) else (step, step)
                text = _run(command, home / "project", environment).replace(str(home), HOME)
                screen.write(f"{_PROMPT}\x1b[1m{typed}\x1b[0m\n" if typed else "")
                screen.write("" if isinstance(step, Unshown) else text)
    return screen.read_lines()


@contextlib.contextmanager
def _serve(web: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(web))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _make_environment(home: Path, mirror: str) -> dict[str, str]:
    """Return an environment without anything of the machine but its programs."""
    program = home.parent / "bin" / "tfimm-resolver"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tfimm_resolver "$@"\n')
    program.chmod(0o755)
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "TERM": "xterm",  # whose programs use the sixteen colours that the pictures have
        "COLUMNS": str(COLUMNS),
        "TFHUB_CACHE_DIR": f"{home}/.cache/tfhub_modules",
        "TFIMM_RESOLVER_MIRRORS": mirror,
        "WEB": str(home.parent / "web" / SERVED_HOST),
    }


def _run(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Return what a terminal receives from a command."""
    controller, terminal = pty.openpty()
    streams = {"stdin": subprocess.DEVNULL, "stdout": terminal, "stderr": terminal}
    with subprocess.Popen(["bash", "-c", command], env=environment, cwd=folder, **streams):  # type: ignore[call-overload]
        os.close(terminal)
        received = b""
        while chunk := _read(controller):
            received += chunk
        os.close(controller)
    return received.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # how Linux reports the end of a terminal
        return b""
