"""A cache root with ten thousand models, compared with a root with one model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import snippets
from tests.benchmarks.rows import Row
from tests.benchmarks.stand import Size, Stand, in_turn

_MODELS = 10_000
_CALLS = 2000


def crowd(stand: Stand, size: Size) -> Iterator[Row]:
    """Measure a warm resolve and ``ls``, neither of which should slow down with the number of models."""
    roots = {"one": 1, "crowd": _MODELS}
    for root, models in roots.items():
        stand.python(snippets.CROWD, str(stand.folder / root), str(models))
    seconds: dict[str, list[float]] = {root: [] for root in roots}
    listed = []
    for turn in range(size.rounds):
        for root, _ in in_turn(roots, turn):
            done = stand.python(snippets.WARM["ours"], "https://tfhub.dev/google/model-0/1", str(_CALLS), cache=root)
            seconds[root].append(float(done.words[-1]))
        listing = stand.process([str(Path(sys.executable).with_name("tfimm-resolver")), "ls"], cache="crowd")
        assert listing.words.count("ok") == _MODELS, "ls did not show every model"
        listed.append(listing.seconds)
    for root in roots:
        stand.remove_cache(root)
    yield Row("crowd", "resolve(), one model in the root", "µs", [value * 1e6 for value in seconds["one"]])
    yield Row("crowd", f"resolve(), {_MODELS} models in the root", "µs", [value * 1e6 for value in seconds["crowd"]])
    times = [many / one for many, one in zip(seconds["crowd"], seconds["one"], strict=True)]
    yield Row("crowd", f"{_MODELS} : one", "x", times, at_most=1.1)
    yield Row("crowd", f"tfimm-resolver ls, {_MODELS} models", "s", listed, below=1.5)
