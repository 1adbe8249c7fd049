"""Real Python processes, as a test wants them: a snippet that has the package imported."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import IO


def start(code: str, *arguments: str, stdin: IO[bytes] | None = None, **environment: str) -> subprocess.Popen[str]:
    """Start a snippet; it has the environment of the test."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def run(code: str, *arguments: str, timeout_s: float = 120, **environment: str) -> str:
    """Run a snippet to its end; what it printed, stripped. It must succeed."""
    with start(code, *arguments, **environment) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
    assert process.returncode == 0, err
    return out.strip()


def read_terminal(ours: int) -> str:
    """All that is written to a terminal by its other side, until that is closed; closes this one."""
    seen = b""
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # how Linux tells the end of a terminal
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    return seen.decode()
