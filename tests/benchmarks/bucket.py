"""A cache root in a bucket: requests and duration of a hit, and an upload compared with TensorFlow's."""

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
"""Small files beside the weights, and their sizes in bytes."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """The duration of one upload, the memory growth of the process, and how many processors the fake kept busy."""

    seconds: float
    grown_mb: float
    busy: float


@dataclass(frozen=True, slots=True)
class _Side:
    """The code that uploads, the connection that it uses, and the latency of a handshake."""

    code: str
    door: str
    handshake_s: float = 0
    sent: list[_Sent] = field(default_factory=list)

    def figures(self, what: str) -> list[float]:
        return [getattr(one, what) for one in self.sent]


def bucket(stand: Stand, size: Size) -> Iterator[Row]:
    """Measure hits without and with latency, and uploads to a bucket with a latency of 20 ms per operation."""
    with stand.serve_bucket() as store:
        yield from _hits(stand, size, store)
        yield from _uploads(stand, size, store)


def _hits(stand: Stand, size: Size, store: Stored) -> Iterator[Row]:
    """Measure hits of a model in the bucket, from fresh processes; the origin is stopped."""
    requests, seconds = [], {0.0: [], _LATENCY_S: []}
    variables = {**store.plain, "TFHUB_CACHE_DIR": f"{store.url}/models", "TFIMM_HOME": str(stand.folder / "cold")}
    with stand.serve(stand.make_model(0.01)) as origin:
        stand.python(snippets.RESOLVE, origin.handle, **variables)
    for turn in range(size.rounds):
        for latency_s, _ in in_turn(seconds, turn):
            store.set_latency(latency_s)
            before = store.count_operations()
            done = stand.python(snippets.WARM["ours"], origin.handle, str(_CALLS), **variables)
            seconds[latency_s].append(float(done.words[-1]))
            requests.append((store.count_operations() - before) / (_CALLS * snippets.WARM_REPEATS))
    yield Row("bucket", "resolve() of a hit, requests", "", requests, at_most=1)
    for latency_s, values in seconds.items():
        latency = f"{latency_s * 1e3:g} ms latency"
        yield Row("bucket", f"resolve() of a hit, {latency}", "ms", [value * 1e3 for value in values])


def _uploads(stand: Stand, size: Size, store: Stored) -> Iterator[Row]:
    """Measure the upload of one large file and a few small ones; this package also writes the record and lists the objects.

    TensorFlow only supports TLS, so only our upload through TLS is compared with it. It opens a connection for every
    operation, which costs an additional round trip to a distant bucket: these rows are separate.
    """
    own, peer = snippets.UPLOAD["ours"], snippets.UPLOAD["peer"]
    sides = {
        "publish, http": _Side(own, "plain"),
        "publish, TLS": _Side(own, "tls"),
        "gfile.copy, TLS": _Side(peer, "tls"),
        "publish, TLS, far": _Side(own, "tls", _LATENCY_S),
        "gfile.copy, TLS, far": _Side(peer, "tls", _LATENCY_S),
    }
    tree = _tree(stand, size)
    for turn in range(size.rounds):
        for _, side in in_turn(sides, turn):
            side.sent.append(_upload(stand, store, tree, side))
    what = amount(size.archive_mb)
    for name, side in sides.items():
        yield Row("bucket", f"{what}, {name}", "s", side.figures("seconds"))
    for end, least in (("", _TIMES), (", far", None)):
        own, other = (sides[f"{method}, TLS{end}"].figures("seconds") for method in ("publish", "gfile.copy"))
        times = [peer_s / own_s for peer_s, own_s in zip(other, own, strict=True)]
        yield Row("bucket", f"{what}, gfile.copy : publish, TLS{end}", "x", times, at_least=least)
    for name, most in (("publish, http", _MEMORY_MB), ("publish, TLS", _MEMORY_MB), ("gfile.copy, TLS", None)):
        yield Row("bucket", f"{what}, {name}, memory", "MB", sides[name].figures("grown_mb"), below=most)
    for name in ("publish, http", "publish, TLS", "gfile.copy, TLS"):
        yield Row("bucket", f"{what}, {name}, store busy", "", sides[name].figures("busy"))


def _upload(stand: Stand, store: Stored, tree: Path, side: _Side) -> _Sent:
    store.clear()
    store.set_latency(_LATENCY_S, side.handshake_s)
    busy_s, variables = store.get_busy_s(), store.plain if side.door == "plain" else store.tls
    seconds, grown_bytes, path = stand.python(side.code, str(tree), f"{store.url}/models", **variables).words[-3:]
    busy_s = store.get_busy_s() - busy_s
    store.check_holds(tree, path)
    return _Sent(float(seconds), int(grown_bytes) / 1e6, busy_s / float(seconds))


def _tree(stand: Stand, size: Size) -> Path:
    """Return a SavedModel with its weights in one shard, and the usual other files."""
    tree = stand.folder / "uploaded"
    if not tree.exists():
        stand.python(snippets.MODEL, str(tree), str(size.archive_mb), "1")
        (tree / "assets").mkdir()
        for name, size_bytes in _BESIDES.items():
            (tree / name).write_bytes(os.urandom(size_bytes))
        os.sync()
    return tree
