"""Sixteen processes that resolve the same model at the same moment, compared with one process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence

from tests.benchmarks import snippets
from tests.benchmarks.rows import Row
from tests.benchmarks.stand import TIMEOUT_S, Model, Served, Size, Stand, in_turn

_PROCESSES = 16
_TIMES = 1.3
_ONE_DOWNLOAD = 1.01


def herd(stand: Stand, size: Size) -> Iterator[Row]:
    """Measure from the common start until the slowest process has its path; imports are not included."""
    model = stand.make_model(size.archive_mb)
    seconds: dict[int, list[float]] = {1: [], _PROCESSES: []}
    downloads = []
    with stand.serve(model) as origin:
        for turn in range(size.rounds):
            for processes, _ in in_turn(seconds, turn):
                before = origin.count_sent_bytes()
                seconds[processes].append(_slowest(stand, model, origin, processes))
                if processes > 1:
                    downloads.append((origin.count_sent_bytes() - before) / model.packed_bytes)
                stand.remove_cache("cold")
    alone, crowded = seconds.values()
    yield Row("herd", "one process alone", "s", alone)
    yield Row("herd", f"the slowest of {_PROCESSES} processes", "s", crowded)
    times = [several / one for several, one in zip(crowded, alone, strict=True)]
    yield Row("herd", "the slowest : alone", "x", times, at_most=_TIMES)
    yield Row("herd", f"sent to {_PROCESSES}, in archives", "", downloads, below=_ONE_DOWNLOAD)


def _slowest(stand: Stand, model: Model, origin: Served, processes: int) -> float:
    """Return the seconds from the common start until the last process has its path."""
    seconds, paths = release_all(stand, origin.handle, [{}] * processes)
    assert len(set(paths)) == 1, paths
    model.check_at(paths[0])
    return seconds


def release_all(stand: Stand, handle: str, environments: Sequence[Mapping[str, str]]) -> tuple[float, list[str]]:
    """Start processes that resolve a handle at the same moment; return seconds until the last path, and all paths."""
    start, release = os.pipe()
    with contextlib.ExitStack() as running:
        running.callback(os.close, start)
        jobs = [
            running.enter_context(stand.start_process(snippets.RELEASED, handle, cache="cold", stdin=start, **environment))
            for environment in environments
        ]
        for job in jobs:
            assert job.stdout is not None
            assert job.stdout.readline() == "ready\n"
        started_s = time.monotonic()
        os.close(release)  # ends the stdin of all processes
        results = [job.communicate(timeout=TIMEOUT_S) for job in jobs]
    if failures := [errors for job, (_, errors) in zip(jobs, results, strict=True) if job.returncode]:
        raise RuntimeError(f"{len(failures)} of {len(jobs)} failed, the first with\n{failures[0]}")
    ended_s, paths = zip(*(out.split() for out, _ in results), strict=True)
    return max(map(float, ended_s)) - started_s, list(paths)
