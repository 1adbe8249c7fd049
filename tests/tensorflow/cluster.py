"""Real workers, models that they cannot see, and clients that load them; each is a separate process."""

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

from tests.fakes.fork_server import ForkedProcess, ForkServer

TIMEOUT_S = 90.0
OLDER = ("moved", "renewed")
"""The models of which the workers have older copies at the same paths."""

_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The addresses of the workers, and a directory of models; if it is not hidden from workers, clients use their memory.

    Clients are forked from a server that has imported TensorFlow.
    """

    addresses: tuple[str, ...]
    models: Path
    hidden: bool
    server: ForkServer

    def client(self, *code: str, arguments: Sequence[str] = (), **environment: str) -> ForkedProcess:
        """Start a client program that has imported everything from ``tests.tensorflow.client``."""
        return self.server.start(
            "\n".join(["from tests.tensorflow.client import *", *map(textwrap.dedent, code), "exit_cleanly()"]),
            *self.addresses,
            str(self.models),
            "hidden" if self.hidden else "seen",
            *arguments,
            PYTHONPATH=str(_REPOSITORY),
            TFHUB_CACHE_DIR=str(self.models / "cache"),
            **environment,
        )

    def run(self, *code: str, arguments: Sequence[str] = (), **environment: str) -> str:
        """Run a client program, which must succeed, and return its output, stripped."""
        return wait_for_client(self.client(*code, arguments=arguments, **environment))[0]


def wait_for_client(client: ForkedProcess) -> tuple[str, str]:
    """Wait for a client, which must succeed; returns its output and its errors, stripped."""
    try:
        out, err = client.communicate(timeout=TIMEOUT_S)
    finally:
        client.kill()
    assert client.returncode == 0, err
    return out.strip(), err.strip()


@contextlib.contextmanager
def workers(models: Path, number: int = 2, server: ForkServer | None = None) -> Iterator[Cluster]:
    """Start workers that cannot see ``models``, which has to exist; ``server`` has imported TensorFlow."""
    with contextlib.ExitStack() as stack:
        server = server or stack.enter_context(ForkServer("tensorflow"))
        started = [stack.enter_context(_worker(models)) for _ in range(number)]
        lines = [_read_line(worker).split() for worker in started]
        yield Cluster(tuple(address for address, _ in lines), models, all(word == "hidden" for _, word in lines), server)


@contextlib.contextmanager
def _worker(models: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tensorflow.worker", str(models), *OLDER],
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


def _read_line(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    assert select.select([worker.stdout], [], [], TIMEOUT_S)[0], "the worker did not come up"
    return worker.stdout.readline()
