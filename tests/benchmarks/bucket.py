"""A root in a bucket: what a hit asks for and how long it takes, and an upload beside that of TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class _Sent:
    """What one upload took, how many megabytes the process grew, and how many processors the stand-in kept busy."""

    seconds: float
    grown_mb: float
    busy: float


@dataclass(frozen=True, slots=True)
class _Side:
    """Who uploads, through which door, and after how long a connection is made."""

    code: str
    door: str
    handshake_s: float = 0
    sent: list[_Sent] = field(default_factory=list)

    def figures(self, what: str) -> list[float]:
        return [getattr(one, what) for one in self.sent]


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
    """One large file and a few small ones, from memory to the last answer; ours with the record and a look at all.

    TensorFlow knows no door but Google's own, by TLS: only ours through the same one is compared. It makes a connection for
    every operation; of a bucket that is far, that costs a round trip more, which is told apart.
    """
    ours, peer = snippets.UPLOAD["ours"], snippets.UPLOAD["peer"]
    sides = {
        "publish, http": _Side(ours, "plain"),
        "publish, TLS": _Side(ours, "tls"),
        "gfile.copy, TLS": _Side(peer, "tls"),
        "publish, TLS, far": _Side(ours, "tls", _LATENCY_S),
        "gfile.copy, TLS, far": _Side(peer, "tls", _LATENCY_S),
    }
    tree = _tree(stand, size)
    for turn in range(size.rounds):
        for _, side in in_turn(sides, turn):
            side.sent.append(_uploaded(stand, store, tree, side))
    what = amount(size.archive_mb)
    for name, side in sides.items():
        yield Row("bucket", f"{what}, {name}", "s", side.figures("seconds"))
    for end, least in (("", _TIMES), (", far", None)):
        mine, theirs = (sides[f"{who}, TLS{end}"].figures("seconds") for who in ("publish", "gfile.copy"))
        times = [peer_s / our_s for peer_s, our_s in zip(theirs, mine, strict=True)]
        yield Row("bucket", f"{what}, gfile.copy : publish, TLS{end}", "x", times, at_least=least)
    for name, most in (("publish, http", _MEMORY_MB), ("publish, TLS", _MEMORY_MB), ("gfile.copy, TLS", None)):
        yield Row("bucket", f"{what}, {name}, memory", "MB", sides[name].figures("grown_mb"), below=most)
    for name in ("publish, http", "publish, TLS", "gfile.copy, TLS"):
        yield Row("bucket", f"{what}, {name}, store busy", "", sides[name].figures("busy"))


def _uploaded(stand: Stand, store: Stored, tree: Path, side: _Side) -> _Sent:
    store.empty()
    store.wait(_LATENCY_S, side.handshake_s)
    busy_s, variables = store.busy_s(), store.plain if side.door == "plain" else store.tls
    seconds, grown_bytes, path = stand.python(side.code, str(tree), f"{store.place}/models", **variables).words[-3:]
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
