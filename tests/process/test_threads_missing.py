"""Resolving where no thread can be started: after the main thread has ended, in atexit, at a limit of processes."""

from __future__ import annotations

import os
import pty
import random
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import files_in, gzip_tar, member, tar_of, zip_of
from tests.fakes.buckets import fill_s3
from tests.fakes.faults.origin import Host
from tests.fakes.hugging_face import HuggingFace
from tests.fakes.processes import read_terminal, run
from tests.fakes.stores.s3 import S3
from tfimm_resolver.transfer import download

MODEL = {"saved_model.pb": b"a graph", "variables/variables.index": random.Random(1).randbytes(3_000_000)}
LARGE = {**MODEL, "variables/variables.data-00000-of-00001": random.Random(2).randbytes(3 * download.RANGE_BYTES)}

# A fake with Python's own message: RLIMIT_NPROC does not apply to root, and CI runs as root.
FEW_THREADS = textwrap.dedent(
    """
    import threading
    real_start, started = threading.Thread.start, []
    def start(thread):
        if len(started) >= {allowed}:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        real_start(thread)
    threading.Thread.start = start
    """
)
RESOLVE = "import sys, tfimm_resolver; print(tfimm_resolver.resolve(sys.argv[1]))"
Cases = dict[str, tuple[str, dict[str, bytes]]]
AFTER_MAIN = {
    "a thread that outlives the main thread": "threading.Thread(target=resolve).start()",
    "a thread that outlives sys.exit": "threading.Thread(target=resolve).start(); sys.exit(0)",
    "atexit": "atexit.register(resolve)",
    "atexit, with an executor loaded before": "import concurrent.futures.thread; atexit.register(resolve)",
}


@pytest.fixture(scope="module")
def archive() -> bytes:
    """The archive of a model that is larger than a few ranges."""
    return gzip_tar(tar_of(*(member(name, data) for name, data in LARGE.items())))


@pytest.fixture
def cases(archive: bytes, s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cases]:
    """A handle for each kind of transfer, with the files of its model."""
    (tmp_path / "local.tar.gz").write_bytes(archive)
    fill_s3({f"m/{name}": data for name, data in MODEL.items()})
    with Host() as host, HuggingFace() as hugging_face:
        monkeypatch.setenv("HF_ENDPOINT", hugging_face.url)
        hugging_face.push("o/m", MODEL)
        yield {
            "archive in ranges": (host.put("/m.tar.gz", archive), LARGE),
            "zip": (host.put("/m.zip", zip_of(MODEL)), MODEL),
            "local archive": (str(tmp_path / "local.tar.gz"), LARGE),
            "directory in a bucket": ("s3://bucket/m", MODEL),
            "Hugging Face": ("hf://o/m", MODEL),
        }


@pytest.mark.parametrize("how", AFTER_MAIN)
def test_resolves_after_the_main_thread_has_ended(how: str, cases: Cases) -> None:
    resolve = "def resolve(): print(tfimm_resolver.resolve(sys.argv[1]))"
    for way in ("archive in ranges", "zip", "local archive"):
        handle, files = cases[way]
        path = run(f"import atexit, sys, threading, tfimm_resolver\n{resolve}\n{AFTER_MAIN[how]}", handle)
        assert files_in(path) == files, way


@pytest.mark.parametrize("allowed", range(4))
def test_resolves_with_few_threads(allowed: int, cases: Cases, cache_dir: Path) -> None:
    for way, (handle, files) in cases.items():
        path = run(FEW_THREADS.format(allowed=allowed) + RESOLVE, handle)
        assert files_in(path) == files, way
    assert {path.suffix for path in cache_dir.iterdir()} == {"", ".txt"}


def test_without_threads_no_bar_is_drawn_on_a_terminal(cases: Cases) -> None:
    seen = {}
    for allowed in (0, 50):
        reader_fd, writer_fd = pty.openpty()
        code = FEW_THREADS.format(allowed=allowed) + RESOLVE
        environment = {**os.environ, "TERM": "xterm", "TFHUB_CACHE_DIR": f"{os.environ['TFHUB_CACHE_DIR']}{allowed}"}
        command = [sys.executable, "-c", code, cases["archive in ranges"][0]]
        job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=writer_fd, env=environment)
        os.close(writer_fd)
        seen[allowed] = read_terminal(reader_fd)
        assert job.wait(60) == 0
    assert "/m.tar.gz" in seen[50] and seen[0] == ""
