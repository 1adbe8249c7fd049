"""Runs code under strace, with system calls that fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

NO_FLOCK = "flock:error=ENOLCK"


def start_traced(
    injections: list[str], code: str, *arguments: str, only: Path | None = None, **environment: str
) -> subprocess.Popen[str]:
    """Start a snippet in which some system calls, or only those on one path, fail or are delayed."""
    if not _may_trace():
        pytest.skip("this machine has no strace, or forbids it; the test needs it to simulate missing kernel locks")
    calls = ",".join(injection.partition(":")[0].strip("/") for injection in injections)
    return subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}"]
        + (["-P", str(only)] if only else [])
        + [word for injection in injections for word in ("-e", f"inject={injection}")]
        + [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def _may_trace() -> bool:
    strace = shutil.which("strace")
    return strace is not None and subprocess.run([strace, "-qq", "-o", "/dev/null", "true"], check=False).returncode == 0
