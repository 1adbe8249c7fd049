"""Simulates workers that all need one model which none of them has: each alone, through a bucket, or by Ray's seed.

``python -m tests.benchmarks.fleet_model`` prints the time of 1,000 workers; ``--compare`` compares it with the recorded runs.
The model is fluid: flows of bytes share lines and processors fairly, and each ends when its bytes have arrived.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.rows import Row

RUNS = Path(__file__).with_name("fleet_runs.json")
"""Runs on one machine, written by ``python -m tests.benchmarks.fleet_runs`` and ``tests.engines.fleet_runs``."""

DEVIATION_MAX = 0.25
_EPSILON = 1e-9


@dataclass(frozen=True)
class Parameters:
    """What the time depends on; sizes in MB, times in seconds. A run on one machine has few processors for all workers.

    Attributes:
        model_mb: of the archive, and of the files.
        origin_mb_per_s: of the origin, for all connections together.
        line_mb_per_s: of each worker, and of the seed's node, in each direction.
        bucket_mb_per_s: of the bucket, for all connections together.
        start_s: from the call to the first byte, and from the last one to the path.
        download_cpu_s: of a processor, for each MB that is downloaded, unpacked, hashed and written.
        copy_cpu_s: the same for a copy from the bucket.
        seed_cpu_s: the same for a copy by Ray, on both sides.
        start_cpu_s: of a processor, for each worker, whatever it does.
        processors: that all workers share; 0 if each has enough of its own.
    """

    model_mb: float = 500.0
    origin_mb_per_s: float = 100.0
    line_mb_per_s: float = 1250.0
    bucket_mb_per_s: float = 20_000.0
    start_s: float = 0.5
    download_cpu_s: float = 0.006
    copy_cpu_s: float = 0.006
    seed_cpu_s: float = 0.004
    start_cpu_s: float = 0.0
    processors: float = 0.0


@dataclass
class Flow:
    """Workers that do the same at the same time.

    Attributes:
        name: of the flow.
        size: of the work of each worker, in MB.
        uses: how much of each resource a MB takes, by the name of the resource.
        workers: how many there are.
        after: the flow that has to end before.
        delay_s: between that end and the beginning.
        rate_max: of one worker, in MB/s.
    """

    name: str
    size: float
    uses: Mapping[str, float]
    workers: int = 1
    after: str = ""
    delay_s: float = 0.0
    rate_max: float = float("inf")
    begun_s: float = field(default=float("inf"), init=False)
    left: float = field(default=0.0, init=False)
    end_s: float = field(default=float("inf"), init=False)


@dataclass(frozen=True)
class Result:
    """How long it took until the last worker had the model, and the resource that was busy for the longest time."""

    seconds: float
    bottleneck: str
    origin_mb: float


def simulate(flows: list[Flow], capacities: Mapping[str, float]) -> tuple[float, dict[str, float]]:
    """Return when the last flow ends, and for how many seconds each resource was fully used."""
    busy_s, now_s, by_name = dict.fromkeys(capacities, 0.0), 0.0, {flow.name: flow for flow in flows}
    for flow in flows:
        flow.left, flow.begun_s = flow.size, flow.delay_s if not flow.after else float("inf")
    while any(flow.end_s == float("inf") for flow in flows):
        for flow in flows:
            if flow.after and flow.begun_s == float("inf") and by_name[flow.after].end_s <= now_s:
                flow.begun_s = by_name[flow.after].end_s + flow.delay_s
        active = [flow for flow in flows if flow.begun_s <= now_s + _EPSILON and flow.end_s == float("inf")]
        rates, full = share(active, capacities)
        until_s = [flow.begun_s - now_s for flow in flows if now_s + _EPSILON < flow.begun_s < float("inf")]
        until_s += [flow.left / rates[flow.name] for flow in active]
        step_s = min(until_s)
        for name in full:
            busy_s[name] += step_s
        now_s += step_s
        for flow in active:
            flow.left -= rates[flow.name] * step_s
            if flow.left <= _EPSILON * max(flow.size, 1):
                flow.end_s = now_s
    return now_s, busy_s


def share(flows: list[Flow], capacities: Mapping[str, float]) -> tuple[dict[str, float], set[str]]:
    """Return the rate of a worker of each flow, so that none can have more without one that has less, and what is full."""
    rates, growing, full = {flow.name: 0.0 for flow in flows}, [*flows], set[str]()
    left = dict(capacities)
    while growing:
        demand = {name: sum(flow.uses.get(name, 0.0) * flow.workers for flow in growing) for name in left}
        steps = {name: left[name] / demand[name] for name in left if demand[name] > 0}
        step = min([*steps.values(), *(flow.rate_max - rates[flow.name] for flow in growing)])
        for flow in growing:
            rates[flow.name] += step
        left = {name: left[name] - step * demand[name] for name in left}
        full |= {name for name, value in steps.items() if value <= step + _EPSILON}
        growing = [
            flow
            for flow in growing
            if rates[flow.name] < flow.rate_max - _EPSILON and not any(flow.uses.get(name) for name in full)
        ]
    return rates, full


def run_alone(workers: int, values: Parameters) -> Result:
    """Let each worker download from the origin."""
    uses = {"the origin": 1.0, **_use_processors(values, values.download_cpu_s)}
    return _finish(
        [*_start(workers, values), Flow("all", values.model_mb, uses, workers, "start", 0.0, _limit(values))], values
    )


def run_bucket(workers: int, values: Parameters) -> Result:
    """Let one worker download and upload; the others copy from the bucket, and so does the first one, into its own cache."""
    first = {"the origin": 1.0, **_use_processors(values, values.download_cpu_s)}
    copies = {"the bucket": 1.0, **_use_processors(values, values.copy_cpu_s)}
    flows = [
        *_start(workers, values),
        Flow("download", values.model_mb, first, 1, "start", 0.0, _limit(values)),
        Flow("upload", values.model_mb, copies, 1, "download", 0.0, _limit(values)),
        Flow("copy", values.model_mb, copies, max(workers - 1, 1), "upload", 0.0, _limit(values)),
    ]
    return _finish(flows, values)


def run_ray(workers: int, values: Parameters) -> Result:
    """Let the seed download; the nodes, all at the same time, copy from the line of its node."""
    first = {"the origin": 1.0, **_use_processors(values, values.download_cpu_s)}
    copies = {"the seed's line": 1.0, **_use_processors(values, values.seed_cpu_s)}
    flows = [
        *_start(workers, values),
        Flow("download", values.model_mb, first, 1, "start", 0.0, _limit(values)),
        Flow("copy", values.model_mb, copies, max(workers - 1, 1), "download", 0.0, _limit(values)),
    ]
    return _finish(flows, values)


WAYS: dict[str, Callable[[int, Parameters], Result]] = {"alone": run_alone, "bucket": run_bucket, "ray": run_ray}


def _start(workers: int, values: Parameters) -> list[Flow]:
    uses = {"the processors": values.start_cpu_s} if values.processors else {}
    return [Flow("start", 1.0, uses, workers, "", 0.0, 1 / values.start_s)]


def _use_processors(values: Parameters, cpu_s: float) -> dict[str, float]:
    return {"the processors": cpu_s} if values.processors else {}


def _limit(values: Parameters) -> float:
    """Return the rate that one worker can reach: its line, or its own processor."""
    return min(values.line_mb_per_s, float("inf") if values.processors else 1 / values.download_cpu_s)


def _finish(flows: list[Flow], values: Parameters) -> Result:
    capacities = {"the origin": values.origin_mb_per_s, "the bucket": values.bucket_mb_per_s}
    capacities |= {"the seed's line": values.line_mb_per_s}
    if values.processors:
        capacities["the processors"] = values.processors
    seconds, busy_s = simulate(flows, capacities)
    name = max(busy_s, key=lambda one: busy_s[one])
    origin_mb = sum(flow.size * flow.workers for flow in flows if "the origin" in flow.uses)
    return Result(seconds, name if busy_s[name] > seconds / 2 else "each worker", origin_mb)


def compare(path: Path = RUNS) -> Iterator[tuple[str, int, float, float]]:
    """Yield the way, the number of workers, the measured and the simulated seconds of each recorded run."""
    recorded = json.loads(path.read_text())
    for group in recorded["groups"]:
        values = Parameters(**group["parameters"])
        for way, workers, seconds in group["runs"]:
            yield way, workers, seconds, WAYS[way](workers, values).seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compare", action="store_true", help="compare with the recorded runs")
    parser.add_argument("--workers", type=int, default=1000)
    arguments = parser.parse_args()
    if arguments.compare:
        for way, workers, measured, simulated in compare():
            sys.stdout.write(f"{way:7} {workers:3} workers: {measured:6.1f} s measured, {simulated:6.1f} s simulated\n")
        return
    for way, run in WAYS.items():
        found = run(arguments.workers, Parameters())
        row = Row("fleet", f"{arguments.workers} workers, {way}; bottleneck: {found.bottleneck}", "s", [found.seconds])
        sys.stdout.write(f"{row.line()}\n")


if __name__ == "__main__":
    main()
