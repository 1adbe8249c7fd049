"""A fleet of sixteen processes on four machines, cold at once: through one bucket, or each from the origin by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.benchmarks.herd import released
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
_SIDES = {"place": "in place", "copied": f"copied to {_MACHINES} machines", "alone": "each from the origin"}


def fleet(stand: Stand, size: Size) -> Iterator[Row]:
    """The origin gives 25 MB/s a connection and 100 MB/s in all, the bucket answers after 20 ms.

    In truth all machines are this one: its processors and its disk serve sixteen fetches where each is alone.
    """
    model = stand.model(size.archive_mb * _SHARE)
    seconds: dict[str, list[float]] = {side: [] for side in _SIDES}
    sent: dict[str, list[float]] = {side: [] for side in _SIDES}
    with stand.served(model, _ORIGIN) as origin, stand.stored() as bucket:
        for turn in range(size.rounds):
            for side, _ in in_turn(_SIDES, turn):
                before = origin.sent_bytes()
                seconds[side].append(_slowest(stand, model, origin, bucket, side))
                sent[side].append((origin.sent_bytes() - before) / model.packed_bytes)
    what = amount(size.archive_mb * _SHARE)
    for side, name in _SIDES.items():
        yield Row("fleet", f"{what}, {name}, the slowest", "s", seconds[side])
    line_s = _PROCESSES * model.packed_bytes / _IN_ALL_MB_PER_S / 1e6
    yield Row("fleet", f"{what}, {_PROCESSES} archives at {_IN_ALL_MB_PER_S} MB/s", "s", [line_s])
    for side, least in (("place", _TIMES), ("copied", None)):
        times = [alone / through for alone, through in zip(seconds["alone"], seconds[side], strict=True)]
        yield Row("fleet", f"{_SIDES['alone']} : {_SIDES[side]}", "x", times, at_least=least)
    for side in ("place", "copied"):
        yield Row("fleet", f"archives sent, {_SIDES[side]}", "", sent[side], below=_ONE_DOWNLOAD)


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


def _environments(disks: Path, bucket: Stored, side: str) -> list[Mapping[str, str]]:
    """What each process finds: a machine is a disk of its own, and alone every process is one."""
    if side == "alone":
        return [{"TFHUB_CACHE_DIR": str(disks / str(number))} for number in range(_PROCESSES)]
    shared = {**bucket.plain, "TFHUB_CACHE_DIR": f"{bucket.place}/models"}
    if side == "copied":
        shared["TFIMM_RESOLVER_LOCAL_COPY"] = "1"
    return [{**shared, "TFIMM_HOME": str(disks / str(number % _MACHINES))} for number in range(_PROCESSES)]
