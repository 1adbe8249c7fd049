"""A root in a bucket: what a hit asks for and how long it takes, and an upload beside that of TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import snippets
from tests.benchmarks.rows import Row, amount
from tests.benchmarks.stand import Size, Stand, Stored, in_turn

_CALLS = 20
_LATENCY_S = 0.02
_TIMES = 2
_MEMORY_MB = 200
_BESIDES = {"fingerprint.pb": 60, "keras_metadata.pb": 20_000, "assets/vocab.txt": 200_000, "assets/labels.txt": 10_000}
"""Small files that lie beside the weights, and their bytes."""

_HTTP, _TLS, _PEER = "publish, http", "publish, TLS", "gfile.copy, TLS"
"""TensorFlow knows no other door than Google's own, by TLS; ours may take both, and only the same one makes a comparison."""


def bucket(stand: Stand, size: Size) -> Iterator[Row]:
    """Hits without latency and with it; uploads to a bucket that lets each operation wait for 20 ms."""
    with stand.stored() as store:
        yield from _hits(stand, size, store)
        yield from _uploads(stand, size, store)


def _hits(stand: Stand, size: Size, store: Stored) -> Iterator[Row]:
    """A model that lies in the bucket, asked for by fresh processes; its origin is gone."""
    asked, seconds = [], {0.0: [], _LATENCY_S: []}
    variables = {**store.plain, "TFHUB_CACHE_DIR": f"{store.place}/models", "TFIMM_HOME": str(stand.folder / "cold")}
    with stand.served(stand.model(0.01)) as origin:
        stand.python(snippets.RESOLVE, origin.handle, **variables)
    for turn in range(size.rounds):
        for latency_s, _ in in_turn(seconds, turn):
            store.wait(latency_s)
            before = store.operations()
            done = stand.python(snippets.WARM["ours"], origin.handle, str(_CALLS), **variables)
            seconds[latency_s].append(float(done.words[-1]))
            asked.append((store.operations() - before) / (_CALLS * snippets.WARM_REPEATS))
    yield Row("bucket", "resolve() of a hit, requests", "", asked, at_most=1)
    for latency_s, values in seconds.items():
        latency = f"{latency_s * 1e3:g} ms latency"
        yield Row("bucket", f"resolve() of a hit, {latency}", "ms", [value * 1e3 for value in values])


def _uploads(stand: Stand, size: Size, store: Stored) -> Iterator[Row]:
    """One large file and a few small ones, from memory to the last answer; ours with the record and a look at all."""
    tree = _tree(stand, size)
    sides: dict[str, tuple[str, Mapping[str, str]]] = {
        _HTTP: (snippets.UPLOAD["ours"], store.plain),
        _TLS: (snippets.UPLOAD["ours"], store.tls),
        _PEER: (snippets.UPLOAD["peer"], store.tls),
    }
    sent: dict[str, list[_Sent]] = {side: [] for side in sides}
    for turn in range(size.rounds):
        for side, (code, variables) in in_turn(sides, turn):
            sent[side].append(_uploaded(stand, store, tree, code, variables))
    what = amount(size.archive_mb)
    for side in sides:
        yield Row("bucket", f"{what}, {side}", "s", [one.seconds for one in sent[side]])
    for side, least in ((_HTTP, None), (_TLS, _TIMES)):
        times = [theirs.seconds / mine.seconds for theirs, mine in zip(sent[_PEER], sent[side], strict=True)]
        yield Row("bucket", f"{what}, {_PEER} : {side}", "x", times, at_least=least)
    for side in sides:
        most = None if side == _PEER else _MEMORY_MB
        yield Row("bucket", f"{what}, {side}, memory", "MB", [one.grown_mb for one in sent[side]], below=most)
    for side in sides:
        yield Row("bucket", f"{what}, {side}, store busy", "", [one.busy for one in sent[side]])


@dataclass(frozen=True, slots=True)
class _Sent:
    """What one upload took, how many megabytes the process grew, and how many processors the stand-in kept busy."""

    seconds: float
    grown_mb: float
    busy: float


def _uploaded(stand: Stand, store: Stored, tree: Path, code: str, variables: Mapping[str, str]) -> _Sent:
    store.empty()
    store.wait(_LATENCY_S)
    busy_s = store.busy_s()
    seconds, grown_bytes, path = stand.python(code, str(tree), f"{store.place}/models", **variables).words[-3:]
    busy_s = store.busy_s() - busy_s
    store.must_hold(tree, path)
    return _Sent(float(seconds), int(grown_bytes) / 1e6, busy_s / float(seconds))


def _tree(stand: Stand, size: Size) -> Path:
    """The weights in one shard, and what else a SavedModel holds."""
    tree = stand.folder / "uploaded"
    if not tree.exists():
        stand.python(snippets.MODEL, str(tree), str(size.archive_mb), "1")
        (tree / "assets").mkdir()
        for name, size_bytes in _BESIDES.items():
            (tree / name).write_bytes(os.urandom(size_bytes))
        os.sync()
    return tree
