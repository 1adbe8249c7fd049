"""Models that are not cached: this package, tensorflow_hub and ``curl | tar xz``, side by side on the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.benchmarks import snippets
from tests.benchmarks.rows import Row, amount, ratios
from tests.benchmarks.stand import SHAPED, Model, Size, Stand, in_turn

_SMALL_MB = 0.004
_MIDDLE = 0.12  # of the large model: 60 of 500 MB
_MEMORY_MB = 200


@dataclass(frozen=True, slots=True)
class _Arrived:
    """The duration of one fetch, the memory growth of the process, and the path of the model."""

    seconds: float
    grown_mb: float
    path: str


@dataclass(frozen=True, slots=True)
class _Side:
    fetch: Callable[[Stand, str], _Arrived]
    name: str
    arrived: list[_Arrived] = field(default_factory=list)

    @property
    def seconds(self) -> list[float]:
        return [one.seconds for one in self.arrived]

    @property
    def grown_mb(self) -> list[float]:
        return [one.grown_mb for one in self.arrived]


def cold(stand: Stand, size: Size) -> Iterator[Row]:
    """Fetch from loopback at full speed; this package performs all its checks."""
    yield from _side_by_side("cold", stand, size, shape=(), reach={"hub": 2.2, "curl": 2})


def fetch_shaped(stand: Stand, size: Size) -> Iterator[Row]:
    """Fetch from an origin that limits each connection to 25 MB/s and responds after 50 ms."""
    yield from _side_by_side("shaped", stand, size, shape=SHAPED, reach={"hub": 5})


def _side_by_side(case: str, stand: Stand, size: Size, *, shape: Sequence[str], reach: dict[str, float]) -> Iterator[Row]:
    """Yield rows for a small, a medium and a large model; the targets apply to the large one."""
    for size_mb in (_SMALL_MB, size.archive_mb * _MIDDLE, size.archive_mb):
        is_large, what = size_mb == size.archive_mb, amount(size_mb)
        unit, a_second = ("ms", 1e3) if size_mb == _SMALL_MB else ("s", 1)
        sides = _measure_sides(stand, stand.make_model(size_mb), size.rounds, shape)
        for side in sides.values():
            yield Row(case, f"{what}, {side.name}", unit, [value * a_second for value in side.seconds])
        for peer, name in (("hub", "tensorflow_hub"), ("curl", "curl | tar xz")):
            least = reach.get(peer) if is_large else None
            yield ratios(case, sides[peer].seconds, sides["ours"].seconds, name=f"{what}, {name}", at_least=least)
        most = _MEMORY_MB if is_large else None
        yield Row(case, f"{what}, resolve(), memory over import", "MB", sides["ours"].grown_mb, below=most)
        yield Row(case, f"{what}, hub.resolve(), memory over import", "MB", sides["hub"].grown_mb)


def _measure_sides(stand: Stand, model: Model, rounds: int, shape: Sequence[str]) -> dict[str, _Side]:
    """Return the measurements of every side."""
    sides = {
        "ours": _Side(_by_python(snippets.COLD["ours"]), "resolve(), all checks on"),
        "hub": _Side(_by_python(snippets.COLD["peer"]), "hub.resolve()"),
        "curl": _Side(_by_curl, "curl -s | tar xz, whole processes"),
    }
    with stand.serve(model, shape) as origin:
        for turn in range(rounds):
            for _, side in in_turn(sides, turn):
                arrived = side.fetch(stand, origin.handle)
                model.check_at(arrived.path)
                side.arrived.append(arrived)
                stand.remove_cache("cold")
    return sides


def _by_python(code: str) -> Callable[[Stand, str], _Arrived]:
    def fetch(stand: Stand, handle: str) -> _Arrived:
        seconds, grown_bytes, path = stand.python(code, handle, cache="cold").words[-3:]
        return _Arrived(float(seconds), int(grown_bytes) / 1e6, path)

    return fetch


def _by_curl(stand: Stand, handle: str) -> _Arrived:
    path = str(stand.folder / "cold")
    done = stand.process(["sh", "-c", snippets.CURL, "sh", handle, path])
    return _Arrived(done.seconds, 0, path)
