"""A hit compared with an earlier commit, in the same run; and many cold processes of which some are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import snippets
from tests.benchmarks.rows import Row
from tests.benchmarks.stand import TIMEOUT_S, Size, Stand, in_turn

BASE = "4989c61"
_REPOSITORY = Path(__file__).parents[2]
_CALLS, _SHARDS, _AT_MOST = 400, 8, 1.1
_PROCESSES, _KILLED, _TERMINATED, _ARCHIVE_MB, _KILL_INTERVAL_S = 64, 10, 3, 20, 0.15
_CHECK = "import sys, tfimm_resolver; assert tfimm_resolver.__file__.startswith(sys.path[1]), tfimm_resolver.__file__\n"


def base(stand: Stand, size: Size) -> Iterator[Row]:
    """Measure warm ``resolve`` of both versions, each on a cache of its own, in processes that alternate."""
    earlier = stand.folder / "base"
    earlier.mkdir()
    archive = subprocess.run(
        ["git", "-C", str(_REPOSITORY), "archive", BASE, "tfimm_resolver"], capture_output=True, check=False
    )
    if archive.returncode:
        raise RuntimeError(f"this case needs the repository with its history: {archive.stderr.decode()}")
    subprocess.run(["tar", "-x", "-C", str(earlier)], input=archive.stdout, check=True)
    sides = {"now": str(_REPOSITORY), "base": str(earlier)}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    with stand.serve(stand.make_model(0.01, shards=_SHARDS)) as origin:
        for side, path in sides.items():
            stand.python(_CHECK + snippets.RESOLVE, origin.handle, cache=side, path=_find_path(path))
    for turn in range(-1, size.rounds):  # the first turn warms the bytecode
        for side, path in in_turn(sides, turn):
            done = stand.python(
                _CHECK + snippets.PROCESSOR_TIME, origin.handle, str(_CALLS), cache=side, path=_find_path(path)
            )
            seconds[side].append(float(done.words[-1]))
    now, before = seconds["now"][1:], seconds["base"][1:]
    yield Row("base", "resolve(), processor time", "µs", [value * 1e6 for value in now])
    yield Row("base", f"resolve() of {BASE}", "µs", [value * 1e6 for value in before])
    times = [own / other for own, other in zip(now, before, strict=True)]
    yield Row("base", f"resolve() : that of {BASE}", "x", times, at_most=_AT_MOST)


def kills(stand: Stand, size: Size) -> Iterator[Row]:
    """Start many cold processes at once, and kill some, always the one that has the lock."""
    failures, left, sent = [], [], []
    model = stand.make_model(_ARCHIVE_MB)
    for _ in range(size.rounds):
        with stand.serve(model) as origin:
            failures.append(_run_herd(stand, origin.handle))
            sent.append(origin.count_sent_bytes() / model.packed_bytes)
        root = stand.folder / "cold"
        names = sorted(os.listdir(root))
        left.append(len(names) - 2)  # the model and its record
        model.check_at(root / names[0])
        stand.remove_cache("cold")
    what = f"of {_PROCESSES}, {_KILLED + _TERMINATED} killed"
    yield Row("kills", f"failures among the others, {what}", "", failures, at_most=0)
    yield Row("kills", f"left in the root, {what}", "", left, at_most=0)
    yield Row("kills", f"sent, in archives, {what}", "", sent)


def _run_herd(stand: Stand, handle: str) -> int:
    """Return how many processes failed that were not killed."""
    start, release = os.pipe()
    with contextlib.ExitStack() as running:
        running.callback(os.close, start)
        jobs = [
            running.enter_context(stand.start_process(snippets.RELEASED, handle, cache="cold", stdin=start))
            for _ in range(_PROCESSES)
        ]
        for job in jobs:
            assert job.stdout is not None
            assert job.stdout.readline() == "ready\n"
        os.close(release)  # ends the stdin of all processes
        victims = set(_kill(stand.folder / "cold", {job.pid: job for job in jobs}))
        for job in jobs:
            job.communicate(timeout=TIMEOUT_S)
        return sum(job.returncode != 0 for job in jobs if job.pid not in victims)


def _kill(root: Path, jobs: dict[int, subprocess.Popen[str]]) -> Iterator[int]:
    """Kill processes one after the other, first those that fetch the model; yield their ids."""
    for number in range(_KILLED + _TERMINATED):
        time.sleep(_KILL_INTERVAL_S)
        running = [pid for pid, job in jobs.items() if job.poll() is None]
        holders = [pid for pid in running if any(root.glob(f"*-{pid}-*.tmp"))]
        for pid in (holders or running)[:1]:
            jobs.pop(pid).send_signal(signal.SIGKILL if number < _KILLED else signal.SIGTERM)
            yield pid


def _find_path(folder: str) -> str:
    return f"{folder}:{sysconfig.get_path('platlib')}"
