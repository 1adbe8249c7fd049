"""A stand to measure on: a home of its own, fresh processes, an origin, and nothing left of it afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import snippets

TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class Done:
    """A process that ended well: what it printed, and how long it lived."""

    words: list[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Stand:
    """A directory that holds the home, the caches and the archives of one run."""

    folder: Path

    def python(self, code: str, *arguments: str, cache: str = "cache", flags: Sequence[str] = (), path: str = "") -> Done:
        """Run a snippet in a fresh process; ``path`` is its PYTHONPATH."""
        return self.process([sys.executable, *flags, "-c", code, *arguments], cache=cache, PYTHONPATH=path)

    def process(self, command: Sequence[str], *, cache: str = "cache", **environment: str) -> Done:
        """Run a command to its end, in an environment that holds nothing of the caller's but PATH."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        settings = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TFHUB_CACHE_DIR": str(self.folder / cache),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        started_s = time.perf_counter()
        done = subprocess.run(
            command,
            env=settings | {name: value for name, value in environment.items() if value},
            cwd=home,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        seconds = time.perf_counter() - started_s
        if done.returncode:
            raise RuntimeError(f"{command[:3]} failed:\n{done.stderr}")
        return Done(done.stdout.split(), seconds)

    def archive(self, content: str, size_mb: float, shards: int) -> Path:
        """A .tar.gz of a model with random weights, made by a process of its own.

        ``ru_maxrss`` survives exec: what this process grew to would hide what its children use.

        Args:
            content: "bits", of which nothing can be compressed, or "normal" for weights as models have them.
        """
        target = self.folder / f"{content}_{shards}.tar.gz"
        self.python(snippets.ARCHIVE, str(target), content, str(size_mb), str(shards))
        return target

    @contextlib.contextmanager
    def served(self, archive: Path) -> Iterator[str]:
        """The handle under which a process of its own serves the archive, by TF Hub's protocol."""
        command = [sys.executable, str(Path(__file__).with_name("origin.py")), str(archive)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield f"http://127.0.0.1:{int(process.stdout.readline())}/google/model/1"
            finally:
                process.terminate()

    def forget(self, cache: str) -> None:
        """Remove a cache, and wait until the disk has settled."""
        shutil.rmtree(self.folder / cache, ignore_errors=True)
        os.sync()
