"""The simulation of fleets in ``tests.benchmarks.fleet_model``, and its agreement with recorded runs."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.fleet_model import DEVIATION_MAX, RUNS, WAYS, Flow, Parameters, compare, share, simulate

SLOW = Parameters(model_mb=100, origin_mb_per_s=10, line_mb_per_s=1000, start_s=1, download_cpu_s=0, processors=1)


def test_flows_share_a_line_fairly_and_leave_to_others_what_they_cannot_use() -> None:
    flows = [Flow("slow", 1, {"line": 1}, 2, rate_max=1), Flow("fast", 1, {"line": 1}, 2), Flow("other", 1, {"disk": 1})]
    rates, full = share(flows, {"line": 10, "disk": 3})
    assert rates == pytest.approx({"slow": 1, "fast": 4, "other": 3}) and full == {"line", "disk"}


def test_a_flow_begins_after_another_one_and_its_delay() -> None:
    flows = [Flow("first", 10, {"line": 1}), Flow("then", 20, {"line": 2}, after="first", delay_s=3)]
    assert simulate(flows, {"line": 10})[0] == pytest.approx(1 + 3 + 4)


def test_workers_that_are_alone_share_the_line_of_the_origin() -> None:
    for workers in (1, 10, 1000):
        found = WAYS["alone"](workers, SLOW)
        assert found.seconds == pytest.approx(1 + workers * 10, rel=0.01) and found.origin_mb == workers * 100


@pytest.mark.parametrize("way", ["bucket", "ray"])
def test_a_fleet_downloads_once(way: str) -> None:
    assert WAYS[way](1000, Parameters()).origin_mb == Parameters().model_mb


def test_the_bottleneck_moves_with_the_number_of_workers() -> None:
    found = {way: [run(workers, Parameters()).bottleneck for workers in (1, 1000)] for way, run in WAYS.items()}
    assert found == {
        "alone": ["the origin", "the origin"],
        "bucket": ["each worker", "the bucket"],
        "ray": ["the origin", "the seed's line"],
    }


def test_recorded_runs_have_4_8_and_16_workers() -> None:
    runs = [run for group in json.loads(RUNS.read_text())["groups"] for run in group["runs"]]
    expected = {("ray", 4), ("ray", 8), *((way, count) for way in ("alone", "bucket") for count in (4, 8, 16))}
    assert {(way, workers) for way, workers, _ in runs} >= expected


@pytest.mark.parametrize(("way", "workers", "measured", "simulated"), [*compare()], ids=str)
def test_the_simulation_agrees_with_a_recorded_run(way: str, workers: int, measured: float, simulated: float) -> None:
    assert simulated == pytest.approx(measured, rel=DEVIATION_MAX)
