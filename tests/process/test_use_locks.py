"""Models that living processes use never vanish or change, while another process prunes the cache all the time."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, tar_gz
from tests.fakes.origin import Origin
from tests.fakes.processes import run, start
from tfimm_resolver.cache.cache import entry_name_for_key

OLDER_COMMIT = "4989c61"
SIZE_BYTES = 64_000
NO_FLOCK = """
import errno, fcntl
def fail(descriptor, operation):
    raise OSError(errno.ENOLCK, "no locks available")
fcntl.flock = fail
"""
WORKER = """
import hashlib, random, sys, time
import tfimm_resolver

url, until_s, numbers = sys.argv[1], time.monotonic() + float(sys.argv[2]), [int(word) for word in sys.argv[3].split()]
reads, paths = 0, {}
while time.monotonic() < until_s:
    for number in random.sample(numbers, len(numbers)):
        path = tfimm_resolver.resolve(f"{url}/m{number}.tar.gz")
        assert paths.setdefault(number, path) == path, "another copy"
        for known, path in paths.items():
            for name, size_bytes in (("saved_model.pb", 64), ("assets/large", 64_000)):
                expected = (hashlib.sha256(f"{known} {name}".encode()).hexdigest() * 2000)[:size_bytes].encode()
                with open(f"{path}/{name}", "rb") as file:
                    assert file.read() == expected, "other bytes"
            reads += 1
print(reads)
"""
PRUNE = """
import json, os, sys, time
from tfimm_resolver import maintenance

max_size, make_old = sys.argv[1], json.loads(sys.argv[2])
removed = slowest_ms = 0
print("started", flush=True)
while not os.path.exists(sys.argv[3]):
    for tree in make_old:
        for path in (f"{tree}/saved_model.pb", tree):
            try:
                os.utime(path, (1, 1))
            except FileNotFoundError:
                pass
    removed += len(maintenance.prune(max_size=max_size).removed)
print(removed)
"""


def make_files(number: int) -> dict[str, bytes]:
    """Return the files of a model, all different from those of other models."""

    def fill(name: str, size_bytes: int) -> bytes:
        return (hashlib.sha256(f"{number} {name}".encode()).hexdigest() * 2000)[:size_bytes].encode()

    return {**MODEL, "saved_model.pb": fill("saved_model.pb", 64), "assets/large": fill("assets/large", SIZE_BYTES)}


@contextmanager
def pruning(cap: int, stop: Path, make_old: list[str], prelude: str = "", **environment: str) -> Iterator[list[int]]:
    """Prune in a loop, to a size for ``cap`` models; the list receives how many models were removed."""
    removed: list[int] = []
    arguments = (str(cap * SIZE_BYTES), json.dumps(make_old), str(stop))
    with start(prelude + PRUNE, *arguments, **environment) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "started\n"
            yield removed
            stop.touch()
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            removed.append(int(out))
        finally:
            process.kill()


def run_workers(
    url: str, groups: list[list[int]], seconds: float, *, count: int, killed: int, prelude: str = "", **environment: str
) -> int:
    """Keep ``count`` processes running that use a few models each; return how often a model was read without a fault.

    A process lives for a quarter of the time, so that its models can be evicted. ``killed`` of them are killed.
    """
    until_s, reads, jobs, chooser = time.monotonic() + seconds, 0, list[subprocess.Popen[str]](), random.Random(7)
    while jobs or time.monotonic() < until_s:
        while len(jobs) < count and time.monotonic() < until_s:
            numbers = " ".join(map(str, chooser.choice(groups)))
            jobs.append(start(prelude + WORKER, url, str(seconds / 4), numbers, **environment))
        if killed and time.monotonic() > until_s - seconds / 2:
            killed -= 1
            victim = jobs.pop(0)
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
        job = jobs.pop(0)
        out, err = job.communicate(timeout=120)
        assert job.returncode == 0, err
        reads += int(out)
    return reads


LOCKS = {"TFIMM_RESOLVER_GRACE": "0s"}
GRACE_ALONE = {"TFIMM_RESOLVER_GRACE": "10s", "TFIMM_RESOLVER_GRACE_WITHOUT_LOCKS": "10s"}


@pytest.mark.parametrize("prelude", ["", NO_FLOCK], ids=["flock", "no flock"])
@pytest.mark.parametrize(
    ("count", "models", "cap", "seconds"),
    [
        pytest.param(4, 12, 3, 4.0, id="short"),
        *(pytest.param(16, 40, 10, 30.0, id=f"round {number}", marks=pytest.mark.long) for number in range(3)),
    ],
)
def test_a_model_in_use_never_vanishes_or_changes(
    prelude: str, count: int, models: int, cap: int, seconds: float, origin: Origin, tmp_path: Path
) -> None:
    for number in range(models):
        origin.put(f"/m{number}.tar.gz", tar_gz(make_files(number)))
    groups = [list(range(first, first + 3)) for first in range(0, models - 2, 2)]
    environment = GRACE_ALONE if prelude else LOCKS
    with pruning(cap, tmp_path / "stop", [], prelude, **environment) as removed:
        reads = run_workers(origin.url, groups, seconds, count=count, killed=3, prelude=prelude, **environment)
    assert reads > 10 * models
    assert prelude or removed[0] > 0, "nothing was evicted, so nothing was tested"


@pytest.mark.long
def test_models_that_an_older_version_uses_do_not_vanish(origin: Origin, tmp_path: Path, cache_dir: Path) -> None:
    older = tmp_path / "older"
    older.mkdir()
    repository = Path(__file__).parents[2]
    archive = subprocess.run(
        ["git", "-C", str(repository), "archive", OLDER_COMMIT, "tfimm_resolver"], capture_output=True, check=False
    )
    if archive.returncode != 0:
        pytest.skip("the test needs the repository with its history")
    subprocess.run(["tar", "-x", "-C", str(older)], input=archive.stdout, check=True)
    for number in range(12):
        origin.put(f"/m{number}.tar.gz", tar_gz(make_files(number)))
    unused = [str(cache_dir / entry_name_for_key(f"{origin.url}/m{number}.tar.gz")) for number in range(6, 12)]
    code = f"import sys; sys.path.insert(0, {str(older)!r})\n"
    assert run(code + "import tfimm_resolver; print(tfimm_resolver.__file__)").startswith(str(older))
    with pruning(3, tmp_path / "stop", unused) as removed, start(code + WORKER, origin.url, "10", "0 1 2 3 4 5") as job:
        try:
            reads = run_workers(origin.url, [[6, 7], [8, 9], [10, 11]], 8, count=2, killed=1)
            out, err = job.communicate(timeout=60)
            assert job.returncode == 0, err
        finally:
            job.kill()
    assert reads > 0 and int(out) > 0 and removed[0] > 0
