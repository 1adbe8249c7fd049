"""Sixteen processes on four machines with empty caches: through one bucket, or each directly from the origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.benchmarks.herd import release_all
from tests.benchmarks.rows import Row, amount
from tests.benchmarks.stand import SHAPED, Model, Served, Size, Stand, Stored, in_turn

_MACHINES, _PROCESSES = 4, 16
_SHARE = 0.2  # of the large model: 100 of 500 MB
_IN_ALL_MB_PER_S = 100
_ORIGIN = (*SHAPED, "--mb-per-s-in-all", str(_IN_ALL_MB_PER_S))
_LATENCY_S = 0.02
_TIMES = 4
_ONE_DOWNLOAD = 1.01
_DISKS = "disks"
_SIDES = {"in_place": "in place", "copied": f"copied to {_MACHINES} machines", "alone": "each from the origin"}


def fleet(stand: Stand, size: Size) -> Iterator[Row]:
    """Measure with an origin of 25 MB/s per connection and 100 MB/s in total, and a bucket with 20 ms latency.

    All machines are simulated on this one, so sixteen separate fetches share its processors and its disk.
    """
    model = stand.make_model(size.archive_mb * _SHARE)
    seconds: dict[str, list[float]] = {side: [] for side in _SIDES}
    sent: dict[str, list[float]] = {side: [] for side in _SIDES}
    with stand.serve(model, _ORIGIN) as origin, stand.serve_bucket() as bucket:
        for turn in range(size.rounds):
            for side, _ in in_turn(_SIDES, turn):
                before = origin.count_sent_bytes()
                seconds[side].append(_slowest(stand, model, origin, bucket, side))
                sent[side].append((origin.count_sent_bytes() - before) / model.packed_bytes)
    what = amount(size.archive_mb * _SHARE)
    for side, name in _SIDES.items():
        yield Row("fleet", f"{what}, {name}, the slowest", "s", seconds[side])
    line_s = _PROCESSES * model.packed_bytes / _IN_ALL_MB_PER_S / 1e6
    yield Row("fleet", f"{what}, {_PROCESSES} archives at {_IN_ALL_MB_PER_S} MB/s", "s", [line_s])
    for side, least in (("in_place", _TIMES), ("copied", None)):
        times = [alone / through for alone, through in zip(seconds["alone"], seconds[side], strict=True)]
        yield Row("fleet", f"{_SIDES['alone']} : {_SIDES[side]}", "x", times, at_least=least)
    for side in ("in_place", "copied"):
        yield Row("fleet", f"archives sent, {_SIDES[side]}", "", sent[side], below=_ONE_DOWNLOAD)


def _slowest(stand: Stand, model: Model, origin: Served, bucket: Stored, side: str) -> float:
    """Return the seconds from the common start until the last process has its path; check the model at each path."""
    bucket.clear()
    bucket.set_latency(_LATENCY_S)
    seconds, paths = release_all(stand, origin.handle, _environments(stand.folder / _DISKS, bucket, side))
    if side == "in_place":
        assert len(set(paths)) == 1, paths
        bucket.check_holds(model.tree, paths[0])
    else:
        assert len(set(paths)) == (_MACHINES if side == "copied" else _PROCESSES), paths
        for path in {*paths}:
            model.check_at(path)
    stand.remove_cache(_DISKS)
    return seconds


def _environments(disks: Path, bucket: Stored, side: str) -> list[Mapping[str, str]]:
    """Return the environment of each process: a machine has its own disk; alone, every process is a machine."""
    if side == "alone":
        return [{"TFHUB_CACHE_DIR": str(disks / str(number))} for number in range(_PROCESSES)]
    shared = {**bucket.plain, "TFHUB_CACHE_DIR": f"{bucket.url}/models"}
    if side == "copied":
        shared["TFIMM_RESOLVER_LOCAL_COPY"] = "1"
    return [{**shared, "TFIMM_HOME": str(disks / str(number % _MACHINES))} for number in range(_PROCESSES)]
