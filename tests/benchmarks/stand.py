"""Test bench for measurements: a separate home, fresh processes, models and origins, all removed afterwards."""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.benchmarks import snippets
from tests.benchmarks.origin import SENT

TIMEOUT_S = 900
SHAPED = ("--mb-per-s", "25", "--latency-s", "0.05")

_REPOSITORY = Path(__file__).parents[2]

Key = TypeVar("Key")
Side = TypeVar("Side")


@dataclass(frozen=True, slots=True)
class Size:
    """The number of rounds, and the size of the large model."""

    rounds: int
    archive_mb: float


@dataclass(frozen=True, slots=True)
class Done:
    """A process that succeeded: the words that it printed, and its run time."""

    words: list[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Model:
    """A model, and its archive."""

    tree: Path
    archive: Path

    @property
    def packed_bytes(self) -> int:
        return self.archive.stat().st_size

    def check_at(self, path: str | Path) -> None:
        """Raise RuntimeError unless the directory contains exactly the files of the model."""
        expected, found = (_files(top) for top in (self.tree, Path(path)))
        if expected != found or not all(filecmp.cmp(self.tree / file, Path(path, file), shallow=False) for file in expected):
            raise RuntimeError(f"the model is not complete at {path}")


@dataclass(frozen=True, slots=True)
class Served:
    """An origin with one model: its handle, in TF Hub's protocol, and the number of bytes sent."""

    port: int

    @property
    def handle(self) -> str:
        return f"http://127.0.0.1:{self.port}/google/model/1"

    def count_sent_bytes(self) -> int:
        """Return how many bytes of bodies the origin has handed to the kernel."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", SENT)
            return int(connection.getresponse().read())


@dataclass(frozen=True, slots=True)
class Stored:
    """A bucket in a fake of Google Cloud Storage; ``plain`` and ``tls`` are the environment variables to reach it."""

    process: subprocess.Popen[str]
    plain: Mapping[str, str]
    tls: Mapping[str, str]

    url = "gs://bucket"

    def clear(self) -> None:
        """Empty the bucket and its log, and set the latency to zero."""
        self._request("empty")

    def set_latency(self, latency_s: float, handshake_s: float = 0) -> None:
        """Set how long every operation, and every TLS handshake, takes."""
        self._request("wait", str(latency_s), str(handshake_s))

    def count_operations(self) -> int:
        """Return the number of operations."""
        return sum(self._request("count").values())

    def get_busy_s(self) -> float:
        """Return the CPU seconds that the fake used."""
        return float(self._request("busy"))

    def check_holds(self, tree: Path, path: str) -> None:
        """Raise RuntimeError unless a prefix of the bucket contains exactly the files of a model."""
        expected = {file.as_posix(): _sha256(tree / file) for file in _files(tree)}
        if self._request("files", path.removeprefix(f"{self.url}/") + "/") != expected:
            raise RuntimeError(f"the model is not complete at {path}")

    def _request(self, *words: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@dataclass(frozen=True, slots=True)
class Stand:
    """A directory with the home, the caches and the models of one run."""

    folder: Path

    def python(
        self, code: str, *arguments: str, cache: str = "cache", flags: Sequence[str] = (), path: str = "", **environment: str
    ) -> Done:
        """Run a snippet in a fresh process; ``path`` is its PYTHONPATH."""
        return self.process([sys.executable, *flags, "-c", code, *arguments], cache=cache, PYTHONPATH=path, **environment)

    def process(self, command: Sequence[str], *, cache: str = "cache", **environment: str) -> Done:
        """Run a command to its end; of the caller's environment it gets only PATH."""
        surroundings = self._surroundings(cache) | {name: value for name, value in environment.items() if value}
        home = self._home()
        started_s = time.perf_counter()
        done = subprocess.run(
            command, env=surroundings, cwd=home, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        seconds = time.perf_counter() - started_s
        if done.returncode:
            raise RuntimeError(f"{command[:3]} failed:\n{done.stderr}")
        return Done(done.stdout.split(), seconds)

    @contextlib.contextmanager
    def start_process(
        self, code: str, *arguments: str, cache: str, stdin: int | None = None, **environment: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Start a process that runs a snippet; it is killed at the end of the body."""
        command = [sys.executable, "-c", code, *arguments]
        pipes: dict[str, Any] = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        surroundings = self._surroundings(cache) | environment
        with subprocess.Popen(command, env=surroundings, cwd=self._home(), text=True, **pipes) as process:
            try:
                yield process
            finally:
                process.kill()

    def make_model(self, size_mb: float, shards: int = 1) -> Model:
        """Return a model with random float32 weights, packed by ``tar czf``; it is made once per run."""
        tree = self.folder / f"model_{size_mb:g}_{shards}"
        made = Model(tree, Path(f"{tree}.tar.gz"))
        if not made.archive.exists():
            self.python(snippets.MODEL, str(tree), str(size_mb), str(shards))
            self.process(["tar", "czf", str(made.archive), "-C", str(tree), "saved_model.pb", "variables"])
            os.sync()
        return made

    @contextlib.contextmanager
    def serve(self, model: Model, shape: Sequence[str] = ()) -> Iterator[Served]:
        """Serve a model from a separate process; ``shape`` are options of the origin."""
        command = [sys.executable, str(Path(__file__).with_name("origin.py")), str(model.archive), *shape]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield Served(int(process.stdout.readline()))
            finally:
                process.terminate()

    @contextlib.contextmanager
    def serve_bucket(self) -> Iterator[Stored]:
        """Run an object store with one public bucket, and a TLS proxy in front of it, in a separate process."""
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-m", "tests.fakes.stores"], cwd=_REPOSITORY, text=True, **pipes) as process:
            try:
                assert process.stdout is not None
                doors = json.loads(process.stdout.readline())
                tls = doors["tensorflow"]
                # obstore reads the certificate authority from another variable than curl does.
                tls["SSL_CERT_FILE"] = tls["CURL_CA_BUNDLE"]
                yield Stored(process, {"STORAGE_EMULATOR_HOST": doors["url"]}, tls)
                process.communicate(timeout=TIMEOUT_S)  # it exits when its stdin is closed, and cleans up
            finally:
                process.kill()

    def remove_cache(self, cache: str) -> None:
        """Remove a cache, and flush the disk."""
        shutil.rmtree(self.folder / cache, ignore_errors=True)
        os.sync()

    def _home(self) -> Path:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return home

    def _surroundings(self, cache: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "TFHUB_CACHE_DIR": str(self.folder / cache),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }


def in_turn(sides: Mapping[Key, Side], turn: int) -> list[tuple[Key, Side]]:
    """Return every side once, in an order that alternates, so that a slow moment of the machine affects all."""
    order = list(sides.items())
    return order if turn % 2 else order[::-1]


def _files(top: Path) -> list[Path]:
    return sorted(file.relative_to(top) for file in top.rglob("*") if file.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
