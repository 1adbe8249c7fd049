"""Processes that are killed at any time: alone, and in the middle of a herd."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import files_in, tar_gz
from tests.fakes.faults.origin import Fault, Gate, Host, Response, hold_at, pace_body
from tests.fakes.faults.recovery import assert_next_resolve_recovers, list_leftovers, read_as_plain_hub, read_cached_model
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tests.fakes.processes import start

pytestmark = pytest.mark.xdist_group("many processes")

RANGE_BYTES = 1 << 18
RESOLVE = f"""
    import sys, time
    import tfimm_resolver.transfer.downloader, tfimm_resolver.transfer.parallel_ranges
    from tfimm_resolver.transfer import download
    from tfimm_resolver import resolve
    download.RANGE_BYTES = {RANGE_BYTES}  # only the size of a range: many of them in few megabytes
    print("here", flush=True)
    print(resolve(sys.argv[1]), time.time())
"""
FILES = {
    "saved_model.pb": b"a graph",
    "variables/variables.data-00000-of-00001": random.Random(5).randbytes(3_000_000),
    "variables/variables.index": b"an index",
    **{f"assets/{number}.txt": b"%d" % number for number in range(40)},
}
KILLS, KILLS_LONG = 12, 60
MOMENTS = ("bytes came", "time passed", "all bytes came")
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def archive() -> bytes:
    return tar_gz(FILES)


class FirstRequest:
    """Not a fault: an event for the first request, and its time."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.at_s = 0.0

    def __call__(self, _: Response) -> None:
        if not self.event.is_set():
            self.at_s = time.time()
            self.event.set()


def wait_until(condition: Callable[[], bool], job: subprocess.Popen[str]) -> None:
    """Poll a condition, as long as the process runs."""
    until_s = time.monotonic() + 60
    while not condition() and job.poll() is None:
        assert time.monotonic() < until_s, "nothing happens"
        time.sleep(0.001)


def measure_duration(archive: bytes, cache_dir: Path) -> tuple[float, float]:
    """Measure in seconds how long a download takes, from the first request, and from the last byte."""
    first_request = FirstRequest()
    with Host() as host:
        job = start(RESOLVE, put(host, archive, first_request), TFHUB_CACHE_DIR=str(cache_dir / "measured"))
        wait_until(lambda: host.count_sent_bytes() == len(archive), job)
        all_sent_s = time.time()
        out, err = job.communicate(timeout=60)
    assert job.returncode == 0, err
    done_s = float(out.split()[-1])
    return done_s - first_request.at_s, done_s - all_sent_s


def put(host: Host, archive: bytes, *faults: Fault) -> str:
    """Serve the archive a little slowly, so that every phase durations_s."""
    return host.put("/m.tar.gz", archive, *faults, pace_body(1 << 15, 0.004))


def kill_at(archive: bytes, root: Path, moment: str, part: float, durations_s: tuple[float, float]) -> str:
    """Kill a process at one moment, and return the state afterwards; "ended" if it was faster."""
    first_request, gate = FirstRequest(), Gate(int(part * len(archive)))
    with Host() as host:
        url = put(host, archive, first_request, *([hold_at(gate)] if moment == "bytes came" else []))
        other = host.put("/other.tar.gz", tar_gz())
        job = start(RESOLVE, url, TFHUB_CACHE_DIR=str(root))
        if moment == "bytes came":
            wait_until(gate.reached.is_set, job)
            time.sleep(0.02 * part)
        elif moment == "time passed":
            wait_until(first_request.event.is_set, job)
            time.sleep(part * durations_s[0])
        else:
            wait_until(lambda: host.count_sent_bytes() == len(archive), job)
            time.sleep(part * durations_s[1])
        job.kill()
        _, err = job.communicate(timeout=60)
        gate.go.set()
        assert job.returncode in (KILLED, 0), err
        return check(root, url, other) if job.returncode == KILLED else "ended"


@pytest.mark.parametrize("kills", [KILLS, pytest.param(KILLS_LONG, marks=pytest.mark.long)])
def test_after_a_kill_at_any_instant_a_model_is_absent_or_complete_and_the_next_resolve_recovers(
    kills: int, archive: bytes, tmp_path: Path
) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    durations_s = measure_duration(archive, tmp_path)
    found: Counter[str] = Counter()
    while found.total() - found["ended"] < kills:
        number = found.total()
        moment, part = MOMENTS[number % len(MOMENTS)], chance.random()
        try:
            state = kill_at(archive, tmp_path / f"root{number}", moment, part, durations_s)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, kill {number}, when {moment}, {part:.3f}") from error
        if state == "ended":  # the measured download was slower
            durations_s = (durations_s[0] * 0.9, durations_s[1] * 0.9)
        found[state] += 1
        assert found["ended"] < kills, (seed, found)


def check(root: Path, url: str, other: str) -> str:
    """Check that after a kill nothing or everything is served, and that the next resolve recovers; return the state."""
    model = read_cached_model(root, url)
    assert model in (None, FILES)
    assert read_as_plain_hub(root, url) in (None, FILES)
    assert_next_resolve_recovers(root, url, FILES, other)
    return "complete" if model else "absent"


def read_holder(cache_dir: Path) -> int:
    """Return the id of the process that holds the lock."""
    (lock,) = cache_dir.glob("*.lock")
    return int(lock.read_text().rsplit(".", 2)[1])


def test_thirteen_of_sixteen_get_the_model_when_three_are_killed_and_the_holder_is_one(
    archive: bytes, host: Host, cache_dir: Path
) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    gate = Gate(len(archive) // 2)
    handle = host.put("/m.tar.gz", archive, hold_at(gate), pace_body(1 << 15, 0.004))
    jobs = {(job := start(RESOLVE, handle)).pid: job for _ in range(16)}
    try:
        for job in jobs.values():
            assert job.stdout and job.stdout.readline() == "here\n"
        assert gate.reached.wait(60)
        victims = [jobs[read_holder(cache_dir)]]
        victims[0].kill()
        victims[0].wait(30)
        others = [job for job in jobs.values() if job not in victims]
        threading.Timer(0.2 + 0.3 * chance.random(), gate.go.set).start()
        for job in chance.sample(others, 2):
            time.sleep(0.4 * chance.random())
            job.kill()
            victims.append(job)
        results = {job.pid: (*job.communicate(timeout=60), job.returncode) for job in jobs.values()}
    finally:
        for job in jobs.values():
            job.kill()
    assert victims[0].returncode == KILLED, seed
    survivors = [results[pid] for pid, job in jobs.items() if job not in victims]
    assert [code for *_, code in survivors] == [0] * 13, (seed, survivors)
    paths = {out.split()[-2] for out, *_ in survivors}
    assert [files_in(path) for path in paths] == [FILES], seed
    assert list_leftovers(cache_dir) == [], seed
    # Each killed process may have held the lock, and costs the bytes that were under way to it.
    assert host.count_sent_bytes() <= len(archive) + len(victims) * 8 * RANGE_BYTES, (seed, host.count_sent_bytes())
