"""Measures clusters of Ray on this machine, for ``fleet_model``: ``python -m tests.engines.fleet_runs 4 8``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tests.benchmarks import origin as origin_program
from tests.fakes.archives import member, tar_of

SIZE_BYTES, ORIGIN_MB_PER_S, STORE_BYTES = 20_000_000, 10.0, 80_000_000
_ROUNDS = 2


def warm_up() -> None:
    """Import what a fetch needs; every worker has done it before."""
    import tfimm_resolver.integrations.ray  # noqa: F401

    time.sleep(1)  # so that each of several calls gets a process of its own


def resolve_alone(handle: str) -> str:
    """Fetch a model as usual."""
    import tfimm_resolver

    return tfimm_resolver.resolve(handle)


def resolve_on_ray(handle: str) -> str:
    """Fetch a model with one download for the cluster."""
    from tfimm_resolver.integrations import ray as on_ray

    return on_ray.resolve(handle)


def run_on_all(function: Callable[..., Any], *arguments: Any) -> float:
    """Run a function on each node at the same time; return the seconds that it took."""
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    remote = ray.remote(num_cpus=0)(function)
    begun_s = time.monotonic()
    strategies = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    ray.get([remote.options(scheduling_strategy=strategy).remote(*arguments) for strategy in strategies])
    return time.monotonic() - begun_s


def measure(workers: int, folder: Path, port: int) -> list[tuple[str, int, float]]:
    """Return the seconds of each way on a cluster of so many nodes, each round with another model."""
    cluster = Cluster()
    try:
        for number in range(workers):
            settings = {"TFHUB_CACHE_DIR": str(folder / f"{workers}-{number}"), "PYTHONPATH": os.getcwd()}
            cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, include_dashboard=False, env_vars=settings)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        run_on_all(warm_up)
        times = []
        for turn in range(_ROUNDS):
            for way, function in (("alone by Ray", resolve_alone), ("ray", resolve_on_ray)):
                handle = f"http://127.0.0.1:{port}/{way[:3]}{workers}/{turn}.tar"
                times.append((way, workers, round(run_on_all(function, handle), 2)))
                sys.stderr.write(f"{times[-1]}\n")
        return times
    finally:
        ray.shutdown()
        cluster.shutdown()


def main() -> None:
    """Print the runs as JSON."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        archive = Path(folder, "model.tar")
        files = {"saved_model.pb": b"\x08\x01", "variables/variables.data-00000-of-00001": os.urandom(SIZE_BYTES)}
        archive.write_bytes(tar_of(*(member(name, data) for name, data in files.items())))
        command = [sys.executable, origin_program.__file__, str(archive), "--mb-per-s-in-all", str(ORIGIN_MB_PER_S)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as origin:
            try:
                assert origin.stdout is not None
                port = int(origin.stdout.readline())
                runs = [run for workers in map(int, sys.argv[1:]) for run in measure(workers, Path(folder), port)]
            finally:
                origin.terminate()
    sys.stdout.write(json.dumps({"model_mb": SIZE_BYTES / 1e6, "runs": runs}) + "\n")


if __name__ == "__main__":
    main()
