"""A stand to measure on: a home of its own, fresh processes, models, origins, and nothing left of it afterwards."""

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
    """How much is measured."""

    rounds: int
    archive_mb: float


@dataclass(frozen=True, slots=True)
class Done:
    """A process that ended well: what it printed, and how long it lived."""

    words: list[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Model:
    """A model, and its files packed."""

    tree: Path
    archive: Path

    @property
    def packed_bytes(self) -> int:
        return self.archive.stat().st_size

    def must_be_at(self, path: str | Path) -> None:
        """Make sure that every file is there, byte by byte, and none beside them."""
        here, there = (_files(top) for top in (self.tree, Path(path)))
        if here != there or not all(filecmp.cmp(self.tree / file, Path(path, file), shallow=False) for file in here):
            raise RuntimeError(f"the model did not arrive whole at {path}")


@dataclass(frozen=True, slots=True)
class Served:
    """A model at an origin: the handle, by TF Hub's protocol, and what the origin sent so far."""

    port: int

    @property
    def handle(self) -> str:
        return f"http://127.0.0.1:{self.port}/google/model/1"

    def sent_bytes(self) -> int:
        """Bytes of bodies that the origin handed to the kernel."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", SENT)
            return int(connection.getresponse().read())


@dataclass(frozen=True, slots=True)
class Stored:
    """A bucket at a stand-in of Google Cloud Storage; ``plain`` and ``tls`` are the variables of its two doors."""

    process: subprocess.Popen[str]
    plain: Mapping[str, str]
    tls: Mapping[str, str]

    place = "gs://bucket"

    def empty(self) -> None:
        """Begin an empty bucket and log, without latency."""
        self._ask("empty")

    def wait(self, latency_s: float, handshake_s: float = 0) -> None:
        """Let every operation, and every connection by TLS, take so long from now on."""
        self._ask("wait", str(latency_s), str(handshake_s))

    def operations(self) -> int:
        """How many there were."""
        return sum(self._ask("asked").values())

    def busy_s(self) -> float:
        """Seconds of processors that the stand-in took."""
        return float(self._ask("busy"))

    def must_hold(self, tree: Path, path: str) -> None:
        """Make sure that a bucket's directory holds every file of a model, byte by byte, and none beside them."""
        here = {file.as_posix(): _sha256(tree / file) for file in _files(tree)}
        if self._ask("files", path.removeprefix(f"{self.place}/") + "/") != here:
            raise RuntimeError(f"the model did not arrive whole at {path}")

    def _ask(self, *words: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@dataclass(frozen=True, slots=True)
class Stand:
    """A directory that holds the home, the caches and the models of one run."""

    folder: Path

    def python(
        self, code: str, *arguments: str, cache: str = "cache", flags: Sequence[str] = (), path: str = "", **environment: str
    ) -> Done:
        """Run a snippet in a fresh process; ``path`` is its PYTHONPATH."""
        return self.process([sys.executable, *flags, "-c", code, *arguments], cache=cache, PYTHONPATH=path, **environment)

    def process(self, command: Sequence[str], *, cache: str = "cache", **environment: str) -> Done:
        """Run a command to its end, in an environment that holds nothing of the caller's but PATH."""
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
    def started(
        self, code: str, *arguments: str, cache: str, stdin: int | None = None, **environment: str
    ) -> Iterator[subprocess.Popen[str]]:
        """A fresh process that runs a snippet; it is killed when it is no longer wanted."""
        command = [sys.executable, "-c", code, *arguments]
        pipes: dict[str, Any] = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        surroundings = self._surroundings(cache) | environment
        with subprocess.Popen(command, env=surroundings, cwd=self._home(), text=True, **pipes) as process:
            try:
                yield process
            finally:
                process.kill()

    def model(self, size_mb: float, shards: int = 1) -> Model:
        """A model with random float32 as its weights, packed as ``tar czf`` does; made once a run."""
        tree = self.folder / f"model_{size_mb:g}_{shards}"
        made = Model(tree, Path(f"{tree}.tar.gz"))
        if not made.archive.exists():
            self.python(snippets.MODEL, str(tree), str(size_mb), str(shards))
            self.process(["tar", "czf", str(made.archive), "-C", str(tree), "saved_model.pb", "variables"])
            os.sync()
        return made

    @contextlib.contextmanager
    def served(self, model: Model, shape: Sequence[str] = ()) -> Iterator[Served]:
        """A process of its own serves the model; ``shape`` are options of the origin."""
        command = [sys.executable, str(Path(__file__).with_name("origin.py")), str(model.archive), *shape]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield Served(int(process.stdout.readline()))
            finally:
                process.terminate()

    @contextlib.contextmanager
    def stored(self) -> Iterator[Stored]:
        """A process of its own is an object store with one open bucket, and a proxy that ends TLS before it."""
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-m", "tests.stores"], cwd=_REPOSITORY, text=True, **pipes) as process:
            try:
                assert process.stdout is not None
                doors = json.loads(process.stdout.readline())
                tls = doors["tensorflow"]
                # obstore looks for the authority elsewhere than curl does.
                tls["SSL_CERT_FILE"] = tls["CURL_CA_BUNDLE"]
                yield Stored(process, {"STORAGE_EMULATOR_HOST": doors["url"]}, tls)
                process.communicate(timeout=TIMEOUT_S)  # it ends with its stdin, and leaves nothing
            finally:
                process.kill()

    def forget(self, cache: str) -> None:
        """Remove a cache, and wait until the disk has settled."""
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
    """Every side once; the next turn goes the other way round, so that a busy moment strikes all."""
    order = list(sides.items())
    return order if turn % 2 else order[::-1]


def _files(top: Path) -> list[Path]:
    return sorted(file.relative_to(top) for file in top.rglob("*") if file.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
