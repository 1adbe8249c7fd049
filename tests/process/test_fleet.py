"""Processes on four machines, with a disk each and one bucket as their cache; some of them are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.buckets import ROOT, list_leftovers, list_objects_below, list_prefixes, make_older, read_record, wait_until
from tests.fakes.origin import Origin
from tests.fakes.processes import run, start
from tests.fakes.stores.gcs import Gcs
from tests.fakes.stores.s3 import S3
from tfimm_resolver import resolve
from tfimm_resolver.cache.bucket_lease import LEASE_SUFFIX
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.object_store.client import ObjectStoreClient

pytestmark = pytest.mark.xdist_group("many processes")

MACHINES = 4
SIZES = pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.long)])
"""How many processes each machine has."""

LATENCY_S = 0.5
LEASE_S = 5  # more than a busy machine lets an owner wait before it renews its lease
SOON = {"TFIMM_RESOLVER_LOCK_TIMEOUT_S": str(LEASE_S)}  # until a waiter takes over
PLAIN = "import sys, tfimm_resolver; print(tfimm_resolver.resolve(sys.argv[1]))"
RESOLVE = """
import os, sys, tfimm_resolver
from tfimm_resolver import settings
if "SOON_IF" in os.environ:  # seconds until a waiter takes over: few while there is that file
    settings.lock_timeout_s = lambda: 2.0 if os.path.exists(os.environ["SOON_IF"]) else 60.0
print(tfimm_resolver.resolve(sys.argv[1]))
"""


class Fleet:
    """The processes that a test starts."""

    def __init__(self, tmp_path: Path) -> None:
        self.jobs: list[subprocess.Popen[str]] = []
        self._tmp_path = tmp_path
        self._soon_path = tmp_path / "soon"

    def start(self, code: str, machine: int, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a process on a machine, each of which has its own disk."""
        own = {"TFIMM_HOME": str(self._tmp_path / f"machine{machine}"), "SOON_IF": str(self._soon_path)}
        self.jobs.append(start(code, *arguments, **{**own, **environment}))
        return self.jobs[-1]

    def start_all(self, handle: str, processes: int, **environment: str) -> None:
        """Start so many processes on each machine that resolve the same handle."""
        for number in range(MACHINES * processes):
            self.start(RESOLVE, number % MACHINES, handle, **environment)

    def wait_for_paths(self) -> list[str]:
        """Wait for all processes, which must succeed or have been killed; return the paths that they printed."""
        ends = [(job.communicate(timeout=120), job.returncode) for job in self.jobs]
        assert [err for (_, err), code in ends if code not in (0, -signal.SIGKILL)] == []
        return [out.strip() for (out, _), code in ends if code == 0]

    def kill_owner(self, handle: str) -> None:
        """Kill the process that holds the lease on the model."""
        found = ObjectStoreClient(ROOT).read(entry_name_for_key(handle) + LEASE_SUFFIX)
        assert found is not None
        pid = int(found[0].decode().rsplit(".", 2)[1])
        (job,) = (job for job in self.jobs if job.pid == pid)
        job.kill()
        job.wait(30)

    def let_another_take_over(self, origin: Origin) -> None:
        """Let the processes wait for two seconds only, until another one downloads; one that pauses keeps its lease."""
        self._soon_path.touch()
        wait_until(lambda: len(origin.requests) > 1)
        self._soon_path.unlink()

    def end(self) -> None:
        """Kill all processes that still run."""
        for job in self.jobs:
            if job.poll() is None:
                job.kill()
            with job:
                pass


@pytest.fixture
def slow(origin: Origin) -> threading.Event:
    """An event that lets the origin send the second half of the model."""
    gate = threading.Event()
    origin.put("/m.tar.gz", tar_gz(), gate=gate)
    return gate


@pytest.fixture
def handle(origin: Origin) -> str:
    return f"{origin.url}/m.tar.gz"


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """A fleet whose cache is the bucket."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", ROOT)
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "100")  # responses wait for all processes
    machines = Fleet(tmp_path)
    yield machines
    machines.end()


def is_complete(path: str, gcs: Gcs | None) -> bool:
    """Whether the model at a path or URL has the expected files and no others."""
    if path.startswith("gs://"):
        assert gcs is not None
        return list_objects_below(gcs.buckets["bucket"], path) == MODEL
    return files_in(path) == MODEL


@SIZES
@pytest.mark.parametrize("is_copied", [False, True], ids=["in url", "copied"])
def test_a_cold_fleet_downloads_once(
    is_copied: bool, processes: int, gcs: Gcs, origin: Origin, slow: threading.Event, handle: str, tmp_path: Path,
    fleet: Fleet,
) -> None:  # fmt: skip
    gcs.latency_s = LATENCY_S
    fleet.start_all(handle, processes, TFIMM_RESOLVER_LOCAL_COPY=str(int(is_copied)))
    # All four machines have found the bucket cold before the response continues.
    assert origin.started.wait(60)
    wait_until(lambda: len(gcs.find_operations("put", f"*{LEASE_SUFFIX}")) >= MACHINES)
    slow.set()
    paths = fleet.wait_for_paths()
    assert len(paths) == MACHINES * processes and [path for path in paths if not is_complete(path, gcs)] == []
    assert len({*paths}) == (MACHINES if is_copied else 1)
    assert origin.requests == ["/m.tar.gz"] and list_leftovers(gcs.buckets["bucket"]) == set()
    assert len(list_prefixes(gcs.buckets["bucket"])) == 1


@SIZES
def test_a_cold_fleet_beside_s3_downloads_once(
    processes: int, s3: S3, origin: Origin, slow: threading.Event, handle: str, tmp_path: Path, fleet: Fleet
) -> None:
    fleet.start_all(handle, processes, TFHUB_CACHE_DIR="s3://bucket/cache")
    assert origin.started.wait(60)
    wait_until(lambda: sum(LEASE_SUFFIX in path and method == "PUT" for method, path, _ in s3.list_requests()) >= MACHINES)
    slow.set()
    paths = fleet.wait_for_paths()
    assert len(paths) == MACHINES * processes and [path for path in paths if not is_complete(path, None)] == []
    assert len({*paths}) == MACHINES and origin.requests == ["/m.tar.gz"]
    folders, found = ObjectStoreClient("s3://bucket/cache").list_top_level()
    assert len(folders) == 1 and LEASE_SUFFIX not in {one.name[40:] for one in found}


@SIZES
def test_a_fleet_whose_first_process_is_killed_in_its_download_downloads_twice(
    processes: int, gcs: Gcs, origin: Origin, slow: threading.Event, handle: str, fleet: Fleet
) -> None:
    gcs.latency_s = LATENCY_S / 5
    fleet.start_all(handle, processes)
    assert origin.started.wait(60)
    wait_until(lambda: len(gcs.find_operations("put", f"*{LEASE_SUFFIX}")) >= MACHINES)
    origin.put("/m.tar.gz", tar_gz())
    fleet.kill_owner(handle)
    fleet.let_another_take_over(origin)
    paths = fleet.wait_for_paths()
    assert len(paths) == MACHINES * processes - 1 and [path for path in paths if not is_complete(path, gcs)] == []
    assert origin.requests == ["/m.tar.gz"] * 2 and list_leftovers(gcs.buckets["bucket"]) == set()


@pytest.mark.parametrize(
    ("moment", "is_copied", "processes"), [("first object", True, 2), ("last object", False, 1), ("record", False, 1)]
)
def test_a_fleet_whose_first_process_is_killed_in_its_upload_downloads_twice(
    moment: str, is_copied: bool, processes: int, gcs: Gcs, origin: Origin, handle: str, tmp_path: Path, fleet: Fleet
) -> None:
    origin.put("/m.tar.gz", tar_gz())
    name = {"first object": "*/variables/*", "last object": "*/saved_model.pb", "record": "*.descriptor.txt"}[moment]
    gate = gcs.on("put", f"cache/{entry_name_for_key(handle)}{name}", times=1 + (moment == "first object")).hold(undone=True)
    fleet.start_all(handle, processes, TFIMM_RESOLVER_LOCAL_COPY=str(int(is_copied)))
    assert gate.reached.wait(60)
    bucket = gcs.buckets["bucket"]
    wait_until(lambda: len(gcs.find_operations("put", f"*{LEASE_SUFFIX}")) >= MACHINES)
    if moment == "record":
        (tree,) = list_prefixes(bucket)
        assert list_objects_below(bucket, f"{ROOT}/{tree}") == MODEL
    assert read_record(bucket, handle) is None
    fleet.kill_owner(handle)
    if moment == "last object":
        gate.go.set()  # the dead process's upload arrives late
    fleet.let_another_take_over(origin)
    paths = fleet.wait_for_paths()
    assert len(paths) == MACHINES * processes - 1 and [path for path in paths if not is_complete(path, gcs)] == []
    assert origin.requests == ["/m.tar.gz"] * 2
    gate.go.set()
    time.sleep(0.2)
    # A record that arrives late also names a complete tree.
    assert is_complete(resolve(handle), gcs) and len(list_prefixes(bucket)) == 2


WATCH = """
    import os, sys
    from tfimm_resolver.cache import cache
    from tfimm_resolver import resolve
    from tfimm_resolver.object_store.client import ObjectStoreClient
    from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record
    root, name = ObjectStoreClient(os.environ["TFHUB_CACHE_DIR"]), cache.entry_name_for_key(sys.argv[1])
    seen = set()
    print("here", flush=True)
    while not os.path.exists(sys.argv[2]):
        found = root.read(name + DESCRIPTOR_SUFFIX)
        if found is None:
            continue
        record = Record.parse(found[0].decode(), name)
        for url in {resolve(sys.argv[1]), f"{root.url}/{record.tree}"}:
            tree = ObjectStoreClient(url)
            found = [one for one in tree.list_objects() if one.name != ".replaced"]
            content = {b"".join(chunks) for _, chunks in tree.stream_objects(found, 8)}
            assert {one.name for one in found} == {file.path for file in record.files} and len(content) == 1, (found, content)
            if content - seen:
                seen |= content
                print("another", flush=True)
    print(len(seen))
"""


def make_numbered_model(number: int) -> dict[str, bytes]:
    """Return a model in which every file contains the number."""
    return {"saved_model.pb": b"%d" % number} | {f"part/{index}": b"%d" % number for index in range(8)}


def test_readers_never_see_a_partial_or_mixed_model_while_others_refresh_and_die(
    gcs: Gcs, origin: Origin, handle: str, tmp_path: Path, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "0.5")
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "here"))
    stop, refresh_code = tmp_path / "stop", "import sys, tfimm_resolver; tfimm_resolver.resolve(sys.argv[1], refresh=True)"
    readers: list[subprocess.Popen[str]] = []
    for number in range(7):
        origin.put("/m.tar.gz", tar_gz(make_numbered_model(number)))
        if number in (0, 3, 5):  # a process dies in the middle of its upload
            gate = gcs.on("put", "*/part/*", nth=4).hold(undone=True)
            dying = fleet.start(refresh_code, number, handle)
            assert gate.reached.wait(60)
            dying.kill()
            gate.go.set()
        resolve(handle, refresh=True)
        if number == 0:
            readers = [fleet.start(WATCH, 10, handle, str(stop)) for _ in range(2)]
            assert [reader.stdout and reader.stdout.readline() for reader in readers] == ["here\n"] * 2
        time.sleep(0.3)
        if number % 3 == 0:  # by now each reader has seen another version
            assert [reader.stdout and reader.stdout.readline() for reader in readers] == ["another\n"] * 2
    stop.touch()
    for reader in readers:
        out, err = reader.communicate(timeout=60)
        assert reader.returncode == 0, err
        assert int(out.split()[-1]) > 2, "the readers should have seen several versions"


def test_a_refresh_keeps_the_previous_prefix_however_old_it_is(gcs: Gcs, origin: Origin, handle: str, fleet: Fleet) -> None:
    bucket = gcs.buckets["bucket"]
    origin.put("/m.tar.gz", tar_gz(make_numbered_model(1)))
    old = resolve(handle)
    make_older(bucket, hours=1000)
    origin.put("/m.tar.gz", tar_gz(make_numbered_model(2)))
    new = resolve(handle, refresh=True)
    assert (
        new != old
        and list_objects_below(bucket, new) == make_numbered_model(2)
        and list_objects_below(bucket, old).items() >= make_numbered_model(1).items()
    )
    make_older(bucket, hours=23)
    resolve(handle, refresh=True)
    assert list_objects_below(bucket, old).items() >= make_numbered_model(1).items()
    make_older(bucket, hours=2)
    assert resolve(handle, refresh=True) == new
    assert list_objects_below(bucket, old) == {} and list_objects_below(bucket, new) == make_numbered_model(2)


def test_two_simultaneous_uploads_succeed_and_the_record_names_one_complete_tree(
    gcs: Gcs, origin: Origin, handle: str, tmp_path: Path, fleet: Fleet
) -> None:
    origin.put("/m.tar.gz", tar_gz())
    bucket = gcs.buckets["bucket"]
    gates = [gcs.on("put", "*/saved_model.pb", nth=number).hold(undone=True) for number in (1, 2)]
    for number, gate in enumerate(gates):
        fleet.start(RESOLVE, number, handle)
        assert gate.reached.wait(60)
        bucket.delete(f"cache/{entry_name_for_key(handle)}{LEASE_SUFFIX}")  # so that the next process does not wait for it
    wait_until(lambda: len(list_prefixes(bucket)) == 2)
    assert read_record(bucket, handle) is None
    paths = []
    for gate, job in zip(gates, fleet.jobs, strict=True):
        gate.go.set()
        out, err = job.communicate(timeout=60)
        assert job.returncode == 0, err
        paths.append(out.strip())
        assert resolve(handle) == paths[-1]
    assert len({*paths}) == 2 and [list_objects_below(bucket, path) for path in paths] == [MODEL] * 2
    assert list_leftovers(bucket) == set()


def test_a_fleet_that_refreshes_at_once_downloads_once(
    gcs: Gcs, origin: Origin, handle: str, slow: threading.Event, fleet: Fleet
) -> None:
    slow.set()
    old = resolve(handle)
    gate = threading.Event()
    origin.put("/m.tar.gz", tar_gz(make_numbered_model(1)), gate=gate)
    origin.started.clear()
    for machine in range(MACHINES):
        fleet.start("import sys, tfimm_resolver; print(tfimm_resolver.resolve(sys.argv[1], refresh=True))", machine, handle)
    assert origin.started.wait(60)
    wait_until(lambda: len(gcs.find_operations("put", f"*{LEASE_SUFFIX}")) > MACHINES)
    gate.set()
    (new,) = {*fleet.wait_for_paths()}
    assert (
        list_objects_below(gcs.buckets["bucket"], new) == make_numbered_model(1)
        and list_objects_below(gcs.buckets["bucket"], old).items() >= MODEL.items()
    )
    assert len(origin.requests) == 2


def test_waiters_on_one_machine_wait_as_long_as_another_machine_is_active(
    gcs: Gcs, origin: Origin, handle: str, slow: threading.Event, tmp_path: Path, fleet: Fleet
) -> None:
    # Three processes on one machine: one waits for the first machine's lease, two for that one's lock; beyond the timeout.
    first = start(PLAIN, handle, TFIMM_HOME=str(tmp_path / "first"), **SOON)
    assert origin.started.wait(60)
    jobs = [start(PLAIN, handle, TFIMM_HOME=str(tmp_path / "second"), **SOON) for _ in range(3)]
    time.sleep(LEASE_S + 2)
    assert [job.poll() for job in jobs] == [None] * 3
    slow.set()
    for job in (first, *jobs):
        out, err = job.communicate(timeout=60)
        assert job.returncode == 0 and is_complete(out.strip(), gcs), err
    assert origin.requests == ["/m.tar.gz"]


def test_waiters_on_one_machine_wait_during_an_upload(
    gcs: Gcs, origin: Origin, handle: str, tmp_path: Path, fleet: Fleet
) -> None:
    origin.put("/m.tar.gz", tar_gz())
    gate = gcs.on("put", "*/saved_model.pb").hold()
    for _ in range(3):
        fleet.start(PLAIN, 1, handle, **SOON)
    assert gate.reached.wait(60)
    time.sleep(LEASE_S + 1)
    gate.go.set()
    assert [path for path in fleet.wait_for_paths() if not is_complete(path, gcs)] == []
    assert origin.requests == ["/m.tar.gz"]


def test_a_fleet_reads_a_model_in_the_bucket_without_requests_to_the_origin(
    gcs: Gcs, origin: Origin, handle: str, tmp_path: Path, fleet: Fleet
) -> None:
    origin.put("/m.tar.gz", tar_gz())
    run(RESOLVE, handle)
    request_count = len(gcs.log)
    fleet.start_all(handle, processes=1)
    assert [path for path in fleet.wait_for_paths() if not is_complete(path, gcs)] == []
    assert len(origin.requests) == 1 and len(gcs.log) - request_count == MACHINES
    assert not os.path.exists(tmp_path / "machine0")
