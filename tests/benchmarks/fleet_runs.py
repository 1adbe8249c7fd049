"""Measures fleets of 4, 8 and 16 workers on this machine, for ``fleet_model``: ``python -m tests.benchmarks.fleet_runs``.

The origin is slow, so that its line, and not the two processors that all workers share, decides how long it takes.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.herd import release_all
from tests.benchmarks.stand import Model, Served, Stand, Stored

SIZE_MB, ORIGIN_MB_PER_S = 20.0, 10.0
WORKERS = (4, 8, 16)
_ROUNDS = 2


def measure(stand: Stand, model: Model, origin: Served, bucket: Stored, way: str, workers: int) -> float:
    """Return the seconds from the common start until the last worker has the model, in a cache of its own."""
    bucket.clear()
    disks = stand.folder / "disks"
    environments: list[Mapping[str, str]] = [{"TFHUB_CACHE_DIR": str(disks / str(number))} for number in range(workers)]
    if way == "bucket":
        shared = {**bucket.plain, "TFHUB_CACHE_DIR": f"{bucket.url}/models", "TFIMM_RESOLVER_LOCAL_COPY": "1"}
        environments = [{**shared, "TFIMM_HOME": str(disks / str(number))} for number in range(workers)]
    seconds, paths = release_all(stand, origin.handle, environments)
    assert len({*paths}) == workers
    model.check_at(paths[-1])
    stand.remove_cache("disks")
    return seconds


def main() -> None:
    """Print the runs as JSON, the medians of some rounds."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        stand = Stand(Path(folder))
        model = stand.make_model(SIZE_MB)
        with stand.serve(model, ("--mb-per-s-in-all", str(ORIGIN_MB_PER_S))) as origin, stand.serve_bucket() as bucket:
            runs = []
            for way in ("alone", "bucket"):
                for workers in (1, *WORKERS):
                    times = [measure(stand, model, origin, bucket, way, workers) for _ in range(_ROUNDS)]
                    runs.append([way, workers, round(statistics.median(times), 2)])
                    sys.stderr.write(f"{runs[-1]}\n")
            sys.stdout.write(json.dumps({"model_mb": model.packed_bytes / 1e6, "runs": runs}) + "\n")


if __name__ == "__main__":
    main()
