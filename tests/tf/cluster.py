"""Real workers, models that they do not see, and clients that load them; each is a process of its own."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.processes import start

PATIENCE_S = 90.0
OLDER = ("moved", "renewed")
"""The models of which the workers have older copies at the very paths."""

_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The addresses of its workers, and a directory of models; where it is not hidden from them, clients use their memory."""

    addresses: tuple[str, ...]
    models: Path
    hidden: bool

    def client(self, *code: str, arguments: Sequence[str] = (), **environment: str) -> subprocess.Popen[str]:
        """Start a client that has everything of ``tests.tf.client`` at hand."""
        return start(
            "\n".join(["from tests.tf.client import *", *map(textwrap.dedent, code), "leave()"]),
            *self.addresses,
            str(self.models),
            "hidden" if self.hidden else "seen",
            *arguments,
            PYTHONPATH=str(_REPOSITORY),
            TFHUB_CACHE_DIR=str(self.models / "cache"),
            **environment,
        )

    def run(self, *code: str, arguments: Sequence[str] = (), **environment: str) -> str:
        """What a client printed, stripped. It must succeed, and is over when this returns."""
        return finished(self.client(*code, arguments=arguments, **environment))[0]


def finished(client: subprocess.Popen[str]) -> tuple[str, str]:
    """What a client printed and said, stripped. It must succeed, and is over when this returns."""
    try:
        out, err = client.communicate(timeout=PATIENCE_S)
    finally:
        client.kill()
    assert client.returncode == 0, err
    return out.strip(), err.strip()


@contextlib.contextmanager
def workers(models: Path, number: int = 2) -> Iterator[Cluster]:
    """Workers that do not see ``models``, which has to exist."""
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(_worker(models)) for _ in range(number)]
        said = [_line(worker).split() for worker in started]
        yield Cluster(tuple(address for address, _ in said), models, hidden=all(word == "hidden" for _, word in said))


@contextlib.contextmanager
def _worker(models: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tf.worker", str(models), *OLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_REPOSITORY,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _line(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    assert select.select([worker.stdout], [], [], PATIENCE_S)[0], "the worker did not come up"
    return worker.stdout.readline()
