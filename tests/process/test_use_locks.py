"""Models that living processes use never vanish or change, while another process prunes the cache all the time."""

from __future__ import annotations

import contextlib
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
from tests.fakes.buckets import ROOT
from tests.fakes.origin import Origin
from tests.fakes.processes import run, start
from tests.fakes.stores.gcs import Gcs
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
sure_s = float(sys.argv[4])  # for how long after its use a model has to stay, if no lock protects it
reads, paths, used_s = 0, {}, {}
while time.monotonic() < until_s:
    for number in random.sample(numbers, len(numbers)):
        used_s[number] = time.monotonic()
        path = tfimm_resolver.resolve(f"{url}/m{number}.tar.gz")
        assert paths.setdefault(number, path) == path, "another copy"
        for known, path in paths.items():
            for name, size_bytes in (("saved_model.pb", 64), ("assets/large", 64_000)):
                expected = (hashlib.sha256(f"{known} {name}".encode()).hexdigest() * 2000)[:size_bytes].encode()
                try:
                    with open(f"{path}/{name}", "rb") as file:
                        assert file.read() == expected, "other bytes"
                except FileNotFoundError:
                    assert time.monotonic() - used_s[known] > sure_s, f"{path} has vanished"
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
    arguments = (f"{cap * SIZE_BYTES}B", json.dumps(make_old), str(stop))
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
    url: str,
    groups: list[list[int]],
    seconds: float,
    *,
    count: int,
    killed: int,
    prelude: str = "",
    code: str = "",
    sure_s: float = float("inf"),
    **environment: str,
) -> int:
    """Keep ``count`` processes running that use a few models each; return how often a model was read without a fault.

    A process lives for a quarter of the time, so that its models can be evicted. ``killed`` of them are killed.
    """
    until_s, reads, jobs, chooser = time.monotonic() + seconds, 0, list[subprocess.Popen[str]](), random.Random(7)
    while jobs or time.monotonic() < until_s:
        while len(jobs) < count and time.monotonic() < until_s:
            numbers = " ".join(map(str, chooser.choice(groups)))
            jobs.append(start(prelude + (code or WORKER), url, str(seconds / 4), numbers, str(sure_s), **environment))
        if killed and len(jobs) > 1 and time.monotonic() > until_s - seconds / 2:
            killed -= 1
            victim = jobs.pop(0)
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
        job = jobs.pop(0)
        out, err = job.communicate(timeout=120)
        assert job.returncode == 0, err
        reads += int(out)
    return reads


BUCKET_WORKER = """
import hashlib, random, sys, time
import tfimm_resolver
from tfimm_resolver.object_store.client import ObjectStoreClient

url, until_s, numbers = sys.argv[1], time.monotonic() + float(sys.argv[2]), [int(word) for word in sys.argv[3].split()]
reads, paths = 0, set()
while time.monotonic() < until_s:
    for number in random.sample(numbers, len(numbers)):
        paths.add((number, tfimm_resolver.resolve(f"{url}/m{number}.tar.gz")))
        for known, path in paths:
            for name, size_bytes in (("saved_model.pb", 64), ("assets/large", 64_000)):
                expected = (hashlib.sha256(f"{known} {name}".encode()).hexdigest() * 2000)[:size_bytes].encode()
                found = ObjectStoreClient(path).read(name)
                assert found is not None, f"{path}/{name} has vanished"
                assert found[0] == expected, "other bytes"
            reads += 1
print(reads)
"""
BUCKET_REMOVER = """
import os, random, sys
from tfimm_resolver import errors, maintenance

url, models = sys.argv[1], int(sys.argv[2])
removed = 0
print("started", flush=True)
while not os.path.exists(sys.argv[3]):
    try:
        removed += len(maintenance.remove(f"{url}/m{random.randrange(models)}.tar.gz"))
    except errors.UnknownHandleError:
        pass
    removed += len(maintenance.prune().removed)
print(removed)
"""
LOCKS = {"TFIMM_RESOLVER_GRACE": "0s"}
SURE_S = 7.0
"""Of the grace time below, of which a quarter may pass before a use is noted."""

GRACE_ALONE = {"TFIMM_RESOLVER_GRACE": "10s", "TFIMM_RESOLVER_GRACE_WITHOUT_LOCKS": "10s"}
IGNORE_CLOSED_CONNECTIONS = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""The store's side of connections of processes that were killed."""

SIZES = pytest.mark.parametrize(
    ("count", "models", "cap", "seconds"),
    [
        pytest.param(4, 12, 3, 4.0, id="short"),
        *(pytest.param(16, 40, 10, 30.0, id=f"round {number}", marks=pytest.mark.long) for number in range(3)),
    ],
)

IN_BUCKETS = pytest.mark.parametrize(
    ("count", "models", "cap", "seconds"),
    [
        pytest.param(4, 12, 3, 4.0, id="short", marks=pytest.mark.long),  # a loaded machine fetches some archives twice
        *(pytest.param(16, 40, 10, 30.0, id=f"round {number}", marks=pytest.mark.long) for number in range(3)),
    ],
)


def put_models(origin: Origin, models: int) -> list[list[int]]:
    """Serve models; return their numbers in groups that overlap, one group for each process."""
    for number in range(models):
        origin.put(f"/m{number}.tar.gz", tar_gz(make_files(number)))
    return [list(range(first, first + 3)) for first in range(0, models - 2, 2)]


@pytest.mark.parametrize("prelude", ["", NO_FLOCK], ids=["flock", "no flock"])
@SIZES
def test_a_model_in_use_never_vanishes_or_changes(
    prelude: str, count: int, models: int, cap: int, seconds: float, origin: Origin, tmp_path: Path
) -> None:
    groups, environment = put_models(origin, models), GRACE_ALONE if prelude else LOCKS
    sure_s = SURE_S if prelude else float("inf")
    with pruning(cap, tmp_path / "stop", [], prelude, **environment) as removed:
        reads = run_workers(
            origin.url,
            groups,
            seconds,
            count=count,
            killed=3,
            prelude=prelude,
            sure_s=sure_s,
            **environment,
        )
    assert reads > models
    assert prelude or removed[0] > 0, "nothing was evicted, so nothing was tested"


@IGNORE_CLOSED_CONNECTIONS
@IN_BUCKETS
def test_a_copy_of_a_model_in_a_bucket_never_vanishes_or_changes(
    count: int, models: int, cap: int, seconds: float, gcs: Gcs, origin: Origin, tmp_path: Path
) -> None:
    groups = put_models(origin, models)
    bucket = {"TFHUB_CACHE_DIR": ROOT, "TFIMM_RESOLVER_LOCAL_COPY": "1", "TFIMM_HOME": str(tmp_path / "here"), **LOCKS}
    with pruning(cap, tmp_path / "stop", [], **bucket) as removed:
        reads = run_workers(origin.url, groups, seconds, count=count, killed=3, **bucket)
    assert reads > models and removed[0] > 0
    assert len(origin.requests) == len(set(origin.requests)), "each archive is fetched once, then copied from the bucket"


@IGNORE_CLOSED_CONNECTIONS
@IN_BUCKETS
def test_a_model_in_a_bucket_never_vanishes_within_the_grace_time(
    count: int, models: int, cap: int, seconds: float, gcs: Gcs, origin: Origin, tmp_path: Path
) -> None:
    groups, stop = put_models(origin, models), tmp_path / "stop"
    bucket = {"TFHUB_CACHE_DIR": ROOT, "TFIMM_HOME": str(tmp_path / "here")}
    bucket["TFIMM_RESOLVER_GRACE_WITHOUT_LOCKS"] = f"{seconds / 4 + 5:g}s"
    with start(BUCKET_REMOVER, origin.url, str(models), str(stop), **bucket) as remover:
        try:
            assert remover.stdout is not None and remover.stdout.readline() == "started\n"
            reads = run_workers(origin.url, groups, seconds, count=count, killed=3, code=BUCKET_WORKER, **bucket)
            stop.touch()
            out, err = remover.communicate(timeout=60)
            assert remover.returncode == 0, err
        finally:
            remover.kill()
    assert reads > models and int(out) > 0


@pytest.fixture
def older(tmp_path: Path) -> str:
    """Code that makes a process import an older version of the package."""
    folder = tmp_path / "older"
    folder.mkdir()
    repository = Path(__file__).parents[2]
    archive = subprocess.run(
        ["git", "-C", str(repository), "archive", OLDER_COMMIT, "tfimm_resolver"], capture_output=True, check=False
    )
    if archive.returncode != 0:
        pytest.skip(f"the test needs the repository with its history: {archive.stderr.decode()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    assert run(code + "import tfimm_resolver; print(tfimm_resolver.__file__)").startswith(str(folder))
    return code


@pytest.mark.parametrize(
    ("count", "models", "cap", "seconds"),
    [
        pytest.param(2, 12, 3, 5.0, id="short", marks=pytest.mark.long),  # needs the history of the repository
        *(pytest.param(12, 40, 10, 30.0, id=f"round {number}", marks=pytest.mark.long) for number in range(3)),
    ],
)
def test_models_that_an_older_version_uses_do_not_vanish(
    older: str, count: int, models: int, cap: int, seconds: float, origin: Origin, tmp_path: Path, cache_dir: Path
) -> None:
    put_models(origin, models)
    half = models // 2
    unused = [str(cache_dir / entry_name_for_key(f"{origin.url}/m{number}.tar.gz")) for number in range(half, models)]
    groups = [[number, number + 1] for number in range(half, models - 1)]
    with pruning(cap, tmp_path / "stop", unused) as removed, contextlib.ExitStack() as stack:
        own = [" ".join(map(str, range(number, half, count // 2 or 1))) for number in range(max(1, count // 3))]
        jobs = [stack.enter_context(start(older + WORKER, origin.url, str(seconds), numbers, "inf")) for numbers in own]
        try:
            reads = run_workers(origin.url, groups, seconds, count=count, killed=min(3, count - 1))
            for job in jobs:
                out, err = job.communicate(timeout=60)
                assert job.returncode == 0 and int(out) > 0, err
        finally:
            for job in jobs:
                job.kill()
    assert reads > 0 and removed[0] > 0
