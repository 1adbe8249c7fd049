"""One trial of a comparison: a package, its loopback server, and an empty cache, in processes that only see these."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tests.benchmarks.peers import LARGE, PEERS, Peer, Served
from tests.fakes.archives import MODEL
from tests.fakes.namespaces import NAMESPACE

LIMIT_S = 45
_HERD_LIMIT_S = 300
_NO_NAMESPACE = 77

T = TypeVar("T")
Result = dict[str, Any]
"""What a process reports: the sha256 of each file of the model and the seconds of each phase, or an error."""

_CHILD = """
import hashlib, json, os, pathlib, statistics, sys, time
started_s = time.perf_counter()
import {package}
seconds = {{"import": time.perf_counter() - started_s}}
handle, calls = sys.argv[1], int(sys.argv[2])

def fetch():
    return {fetch}

def report():
    started_s = time.perf_counter()
    try:
        top = pathlib.Path(fetch())
        seconds["cold"] = time.perf_counter() - started_s
        files = sorted(path for path in top.rglob("*") if path.is_file())
        result = {{"files": {{str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}}}}
        result["top"], result["seconds"] = str(top), seconds
        if calls:
            warm = []
            for _ in range(calls):
                started_s = time.perf_counter()
                fetch()
                warm.append(time.perf_counter() - started_s)
            seconds["warm"] = statistics.median(warm)
    except Exception as error:
        result = {{"error": f"{{type(error).__name__}}: {{error}}"[:300]}}
    print("RESULT", json.dumps(result), flush=True)

print("READY", flush=True)
sys.stdin.read()
report()
"""

_ENLARGE = """
assert libc.mount(b"tmpfs", root.encode(), b"tmpfs", 32, b"size=64m") == 0  # MS_REMOUNT
report()
"""


@functools.cache
def make_files(size_bytes: int) -> dict[str, bytes]:
    """Return a model of three files, whose weights are normally distributed."""
    weights = np.random.default_rng(0).standard_normal(size_bytes // 4, np.float32)
    return {**MODEL, LARGE: weights.tobytes()}


class Running:
    """A process that has imported the package and waits to be released."""

    def __init__(self, process: subprocess.Popen[str], limit_s: float) -> None:
        self._process, self._limit_s, self._is_ready = process, limit_s, False

    def wait_until_ready(self) -> None:
        """Wait until the package is imported."""
        assert self._process.stdout is not None
        while (line := self._process.stdout.readline()).strip() != "READY":
            if not line:
                raise RuntimeError("the process ended before it was ready")
        self._is_ready = True

    def release(self) -> None:
        """Let it fetch, once the package is imported."""
        if not self._is_ready:
            self.wait_until_ready()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.stdin = None  # which communicate() would flush

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def read_results(self) -> list[Result]:
        """Return its reports; a process that takes too long is killed, and reports that."""
        try:
            out, _ = self._process.communicate(timeout=self._limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return [{"error": f"waits for over {self._limit_s:g} s", "is_slow": True}]
        if self._process.returncode == _NO_NAMESPACE:
            raise RuntimeError("this machine forbids user namespaces, which a small disk needs")
        return [json.loads(line.removeprefix("RESULT ")) for line in out.splitlines() if line.startswith("RESULT ")]


@dataclass(frozen=True)
class Trial:
    """A package, what is served to it, and its directories."""

    peer: Peer
    served: Served
    files: dict[str, bytes]
    folder: Path

    @contextlib.contextmanager
    def start(self, *, calls: int = 0, is_disk_small: bool = False, limit_s: float = LIMIT_S) -> Iterator[Running]:
        """Start a process, which imports the package and waits; it is killed at the end of the body."""
        code = _CHILD.format(package=self.peer.package, fetch=self.peer.fetch)
        if is_disk_small:
            code = textwrap.dedent(NAMESPACE) + code + _ENLARGE
        command = [sys.executable, "-c", code, self.served.handle, str(calls)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, env=self._surroundings(), cwd=self.folder, text=True, **pipes) as process:
            try:
                yield Running(process, limit_s)
            finally:
                process.kill()

    def fetch(self, *, calls: int = 0) -> Result:
        """Fetch in a fresh process, and then that many times more."""
        with self.start(calls=calls) as process:
            process.release()
            return process.read_results()[0]

    def fetch_together(self, processes: int) -> list[Result]:
        """Fetch in several processes at the same moment."""
        with contextlib.ExitStack() as stack:
            started = [stack.enter_context(self.start(limit_s=_HERD_LIMIT_S)) for _ in range(processes)]
            for process in started:
                process.wait_until_ready()
            for process in started:
                process.release()
            return [process.read_results()[0] for process in started]

    def fetch_on_small_disk(self) -> list[Result]:
        """Fetch to a disk that is too small, and again after it was enlarged."""
        (self.folder / "cache").mkdir(exist_ok=True)
        with self.start(is_disk_small=True) as process:
            process.release()
            return process.read_results()

    def damage_cache(self, *, is_removed: bool) -> None:
        """Truncate or remove the cached weights."""
        path = Path(self.fetch()["top"], LARGE).resolve()
        if is_removed:
            path.unlink()
        else:
            path.chmod(0o644)
            os.truncate(path, path.stat().st_size // 2)

    def is_right(self, result: Result) -> bool:
        """Whether a result has exactly the files of the model."""
        return bool(result.get("files") == {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()})

    def describe(self, first: Result, fetch_again: Callable[[], Result]) -> str:
        """Return the outcome of a call under faults, and of the next one, which is made only after an error."""
        if "files" in first:
            return "right" if self.is_right(first) else "wrong model"
        outcome = first["error"] if first.get("is_slow") else "error"
        second = fetch_again()
        if "files" in second:
            return f"{outcome}, next call {'right' if self.is_right(second) else 'wrong model'}"
        return f"{outcome}, next call {second['error'] if second.get('is_slow') else 'error'}"

    def _surroundings(self) -> dict[str, str]:
        cache = str(self.folder / "cache")
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TFHUB_CACHE_DIR": cache,
            "HF_HOME": cache,
            "KAGGLEHUB_CACHE": cache,
            "TFIMM_RESOLVER_QUIET": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **self.served.environment,
        }


def run_trial(name: str, files: dict[str, bytes], run: Callable[[Trial], T]) -> T:
    """Run one trial with an empty cache."""
    folder = Path(tempfile.mkdtemp(prefix="compare-"))
    try:
        with PEERS[name].serve(files) as served:
            return run(Trial(PEERS[name], served, files, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
