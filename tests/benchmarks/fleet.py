"""A fleet of sixteen processes on four machines, cold at once: through one bucket, or each from the origin by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.benchmarks.herd import released
from tests.benchmarks.rows import Row, ratios
from tests.benchmarks.stand import SHAPED, Model, Served, Size, Stand, Stored, in_turn

_MACHINES, _PROCESSES = 4, 16
_SHARE = 0.2  # of the large model: 100 of 500 MB
_ORIGIN = (*SHAPED, "--mb-per-s-in-all", "100")
_LATENCY_S = 0.02
_TIMES = 4
_ONE_DOWNLOAD = 1.01
_DISKS = "disks"

Environments = list[Mapping[str, str]]


def fleet(stand: Stand, size: Size) -> Iterator[Row]:
    """The origin gives 25 MB/s a connection and 100 MB/s in all, the bucket answers after 20 ms."""
    model = stand.model(size.archive_mb * _SHARE)
    sides = {"place": "in place", "copied": "copied to each machine", "alone": "each from the origin"}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    sent: dict[str, list[float]] = {side: [] for side in sides}
    with stand.served(model, _ORIGIN) as origin, stand.stored() as bucket:
        for turn in range(size.rounds):
            for side, _ in in_turn(sides, turn):
                before = origin.sent_bytes()
                seconds[side].append(_slowest(stand, model, origin, bucket, side))
                sent[side].append((origin.sent_bytes() - before) / model.packed_bytes)
    what = f"{model.size_bytes / 1e6:.0f} MB"
    for side, name in sides.items():
        yield Row("fleet", f"{what}, {name}, the slowest of {_PROCESSES}", "s", seconds[side])
    for side, least in (("place", _TIMES), ("copied", None)):
        yield ratios("fleet", seconds["alone"], seconds[side], name=f"each alone : {sides[side]}", at_least=least)
    for side in ("place", "copied"):
        yield Row("fleet", f"sent by the origin, in archives, {sides[side]}", "", sent[side], below=_ONE_DOWNLOAD)


def _slowest(stand: Stand, model: Model, origin: Served, bucket: Stored, side: str) -> float:
    """Seconds from the release of all to the last one's path; every one has a whole model there."""
    bucket.empty()
    bucket.wait(_LATENCY_S)
    seconds, paths = released(stand, origin.handle, _environments(stand.folder / _DISKS, bucket, side))
    if side == "place":
        assert len(set(paths)) == 1, paths
        bucket.must_hold(model.tree, paths[0])
    else:
        assert len(set(paths)) == (_MACHINES if side == "copied" else _PROCESSES), paths
        for path in {*paths}:
            model.must_be_at(path)
    stand.forget(_DISKS)
    return seconds


def _environments(disks: Path, bucket: Stored, side: str) -> Environments:
    """What each process finds: a machine is a disk of its own, and alone every process is one."""
    if side == "alone":
        return [{"TFHUB_CACHE_DIR": str(disks / str(number))} for number in range(_PROCESSES)]
    shared = {**bucket.plain, "TFHUB_CACHE_DIR": f"{bucket.place}/models"}
    if side == "copied":
        shared["TFIMM_RESOLVER_LOCAL_COPY"] = "1"
    return [{**shared, "TFIMM_HOME": str(disks / str(number % _MACHINES))} for number in range(_PROCESSES)]
