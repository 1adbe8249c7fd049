"""Runs snippets of Python in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

TIMEOUT_S = 60.0
_ASLEEP_S, _POLL_S, _TICKS_MAX = 0.3, 0.02, 2


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


def read_terminal(descriptor: int, watch: Callable[[str], object] = lambda _: None) -> str:
    """Read everything that is written to a pseudo-terminal until its other end is closed; close this end.

    ``watch`` is called with the text up to then, each time that there is more.
    """
    received = b""
    while True:
        try:
            chunk = os.read(descriptor, 1 << 16)
        except OSError:  # how Linux reports the end of a terminal
            break
        if not chunk:
            break
        received += chunk
        watch(received.decode(errors="ignore"))
    os.close(descriptor)
    return received.decode()


def wait_until(condition: Callable[[], object], timeout_s: float = TIMEOUT_S, *, poll_s: float = 0.01) -> None:
    """Poll a condition until it is true."""
    until_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s, f"not true within {timeout_s:g} s: {condition}"
        time.sleep(poll_s)


def wait_until_asleep(*processes: subprocess.Popen[str], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until processes, and those that they started, hardly run for 0.3 s, as if they waited for a lock, or have ended.

    A process that is starting, that waits for a disk, or for which no processor is free, is not asleep.
    """
    wait_until(lambda: _are_asleep([process.pid for process in processes]), timeout_s)


def _are_asleep(pids: list[int]) -> bool:
    ticks_before, seen_running = [_read_ticks(pid) for pid in pids], Counter[int]()
    until_s = time.monotonic() + _ASLEEP_S
    while time.monotonic() < until_s:
        seen_running.update(pid for pid in pids if any(state in "RD" for state, _ in _read_threads(pid)))
        if any(count > _TICKS_MAX for count in seen_running.values()):  # one that polls a lock runs now and then
            return False
        time.sleep(_POLL_S)
    return all(_read_ticks(pid) - before <= _TICKS_MAX for pid, before in zip(pids, ticks_before, strict=True))


def _read_ticks(pid: int) -> int:
    return sum(ticks for _, ticks in _read_threads(pid))


def _read_threads(pid: int) -> Iterator[tuple[str, int]]:
    """Yield the state of each thread of a process and its children, and the time for which it has run, in ticks."""
    for folder in Path(f"/proc/{pid}/task").glob("*"):
        try:
            state, *numbers = (folder / "stat").read_text().rpartition(") ")[2].split()
            children = (folder / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
        yield state, int(numbers[10]) + int(numbers[11])
        for child in children:
            yield from _read_threads(int(child))


IMPORT_SKIPPED = (".__main__", ".sitecustomize", ".bundle", ".handle", ".plan", ".unbundle", ".beam", ".ray", ".ray_seed")
"""The ends of the names of modules that are deprecated, need an engine, or do something when they are imported."""

IMPORT_PACKAGE = f"""
import importlib, pkgutil, tfimm_resolver
for module in pkgutil.walk_packages(tfimm_resolver.__path__, "tfimm_resolver."):
    if not module.name.endswith({IMPORT_SKIPPED}):
        importlib.import_module(module.name)
"""
"""Imports every module but those, for code that then becomes another user, who may not be able to read them."""
