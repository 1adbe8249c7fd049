"""``make pictures`` records the terminal of README.md: real commands in a temporary home, drawn as an SVG.

The server is one on this machine that stands for models.example.org, and the home is text as /home/ada.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rich.console import Console
from rich.text import Text

REPOSITORY = Path(__file__).parents[1]
PICTURE = REPOSITORY / "docs" / "images" / "terminal.svg"
_COLUMNS, _HOME = 96, "/home/ada"
_HANDLE = "https://models.example.org/half_plus_two.tar.gz"
_COMMANDS = (
    f"tfimm-resolver resolve {_HANDLE}",
    "tfimm-resolver ls",
    "rm ~/.cache/tfhub_modules/*/variables/*   # as a cleaner of temporary files does",
    "tfimm-resolver verify",
    f"tfimm-resolver resolve {_HANDLE}",
)
_FROM_ELSEWHERE = re.compile(r"\s*@font-face \{.*?\}|<!--.*?-->", re.DOTALL)
_UNIQUE_ID = "terminal"


class _Handler(SimpleHTTPRequestHandler):
    def translate_path(self, path: str) -> str:
        return str(REPOSITORY / "tests" / "data" / "half_plus_two_v1.tar.gz")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the parameter's name in the base class
        pass


def main(picture: Path = PICTURE) -> None:
    """Record the commands, and write the picture."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True)
    with tempfile.TemporaryDirectory() as home, ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = _make_environment(Path(home), f"http://127.0.0.1:{server.server_port}")
        for command in _COMMANDS:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")), soft_wrap=True)
            text = _run(command, environment).replace(home, _HOME)
            if text:
                console.print(Text.from_ansi(text), soft_wrap=True)
        console.print()  # else the picture ends before the descenders of the last line
        server.shutdown()
    svg = console.export_svg(title="tfimm-resolver", unique_id=_UNIQUE_ID)
    svg = _FROM_ELSEWHERE.sub("", svg).replace("Fira Code", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono")
    picture.parent.mkdir(exist_ok=True)
    picture.write_text("\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n", encoding="utf-8")


def _make_environment(home: Path, mirror: str) -> dict[str, str]:
    (home / "bin").mkdir()
    program = home / "bin" / "tfimm-resolver"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tfimm_resolver "$@"\n')
    program.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TFIMM", "TFHUB", "XDG"))}
    return {
        **inherited,
        "HOME": str(home),
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "TERM": "xterm-256color",
        "COLUMNS": str(_COLUMNS),
        "TFHUB_CACHE_DIR": f"{home}/.cache/tfhub_modules",
        "TFIMM_RESOLVER_MIRRORS": mirror,
    }


def _run(command: str, environment: dict[str, str]) -> str:
    """Return what a terminal shows after a command; messages come without the progress bar, as in a pipe."""
    controller, terminal = pty.openpty()
    streams = {"stdin": subprocess.DEVNULL, "stdout": terminal, "stderr": subprocess.PIPE}
    with subprocess.Popen(["bash", "-c", command], env=environment, cwd="/", **streams) as job:  # type: ignore[call-overload]
        os.close(terminal)
        text = b""
        while chunk := _read(controller):
            text += chunk
        os.close(controller)
        messages = job.stderr.read()
    return str((messages + text).decode()).replace("\r\n", "\n").rstrip("\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # how Linux reports the end of a terminal
        return b""


if __name__ == "__main__":
    main()
