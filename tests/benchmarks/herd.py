"""Sixteen processes that want the same model at the same moment, beside one that is alone."""

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
    """From the common start to the path of the slowest; everything is imported before."""
    model = stand.model(size.archive_mb)
    seconds: dict[int, list[float]] = {1: [], _PROCESSES: []}
    downloads = []
    with stand.served(model) as origin:
        for turn in range(size.rounds):
            for processes, _ in in_turn(seconds, turn):
                before = origin.sent_bytes()
                seconds[processes].append(_slowest(stand, model, origin, processes))
                if processes > 1:
                    downloads.append((origin.sent_bytes() - before) / model.packed_bytes)
                stand.forget("cold")
    alone, crowded = seconds.values()
    yield Row("herd", "one process alone", "s", alone)
    yield Row("herd", f"the slowest of {_PROCESSES} processes", "s", crowded)
    times = [several / one for several, one in zip(crowded, alone, strict=True)]
    yield Row("herd", "the slowest : alone", "x", times, at_most=_TIMES)
    yield Row("herd", f"sent to {_PROCESSES}, in archives", "", downloads, below=_ONE_DOWNLOAD)


def _slowest(stand: Stand, model: Model, origin: Served, processes: int) -> float:
    """Seconds from the release of all to the last one's path."""
    seconds, paths = released(stand, origin.handle, [{}] * processes)
    assert len(set(paths)) == 1, paths
    model.must_be_at(paths[0])
    return seconds


def released(stand: Stand, handle: str, environments: Sequence[Mapping[str, str]]) -> tuple[float, list[str]]:
    """Processes that resolve a handle at the same moment: seconds until the last one's path, and the paths of all."""
    start, release = os.pipe()
    with contextlib.ExitStack() as running:
        running.callback(os.close, start)
        jobs = [
            running.enter_context(stand.started(snippets.RELEASED, handle, cache="cold", stdin=start, **environment))
            for environment in environments
        ]
        for job in jobs:
            assert job.stdout is not None
            assert job.stdout.readline() == "ready\n"
        started_s = time.monotonic()
        os.close(release)  # the end of every one's input
        said = [job.communicate(timeout=TIMEOUT_S) for job in jobs]
    if failures := [errors for job, (_, errors) in zip(jobs, said, strict=True) if job.returncode]:
        raise RuntimeError(f"{len(failures)} of {len(jobs)} failed, the first with\n{failures[0]}")
    ended_s, paths = zip(*(out.split() for out, _ in said), strict=True)
    return max(map(float, ended_s)) - started_s, list(paths)
