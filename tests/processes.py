"""Runs snippets of Python in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import IO


def start(code: str, *arguments: str, stdin: IO[bytes] | None = None, **environment: str) -> subprocess.Popen[str]:
    """Start a snippet, with the environment of the test and ``environment``."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def run(code: str, *arguments: str, timeout_s: float = 120, **environment: str) -> str:
    """Run a snippet, which must succeed, and return its output, stripped."""
    with start(code, *arguments, **environment) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
    assert process.returncode == 0, err
    return out.strip()


def read_terminal(descriptor: int) -> str:
    """Read everything that is written to a pseudo-terminal until its other end is closed; close this end."""
    received = b""
    while True:
        try:
            chunk = os.read(descriptor, 1 << 16)
        except OSError:  # how Linux reports the end of a terminal
            break
        if not chunk:
            break
        received += chunk
    os.close(descriptor)
    return received.decode()
