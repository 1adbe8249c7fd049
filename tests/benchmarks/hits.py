"""Costs of a start and of a cache hit: import, command line and warm resolve, compared with tensorflow_hub."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import snippets
from tests.benchmarks.rows import Row, ratios
from tests.benchmarks.stand import Done, Size, Stand, in_turn

_HEAVY = ("tensorflow", "requests", "rich", "click")
_WARM_CALLS = 2000
_WARM_SHARDS = 8  # with saved_model.pb and the index: ten files


def import_packages(stand: Stand, size: Size) -> Iterator[Row]:
    """Measure what an import adds to a bare interpreter, and check that it loads no large package."""
    found = _without_site(stand, snippets.LOADED, *_HEAVY).words
    yield Row("import", f"loaded of {', '.join(_HEAVY)}", "", [len(found)], below=1)
    seconds: dict[str, list[float]] = {side: [] for side in snippets.IMPORT}
    for turn in range(-1, size.rounds):  # the first turn warms the disk cache and the bytecode
        for side, code in in_turn(snippets.IMPORT, turn):
            seconds[side].append(_without_site(stand, code).seconds)
    bare = seconds["bare"][1:]
    own, peer = ([value - base for value, base in zip(seconds[side][1:], bare, strict=True)] for side in ("ours", "peer"))
    yield Row("import", "bare interpreter, whole process", "ms", _milli(bare))
    yield Row("import", "tfimm_resolver, over bare", "ms", _milli(own), below=40)
    yield Row("import", "tensorflow_hub, over bare", "ms", _milli(peer))
    yield ratios("import", peer, own)


def command_line(stand: Stand, size: Size) -> Iterator[Row]:
    """Measure processes that print the path of a cached model."""
    handle = _cache_model(stand)
    commands = {
        "ours": [str(Path(sys.executable).with_name("tfimm-resolver")), "resolve", handle],
        "peer": [sys.executable, "-c", snippets.RESOLVE_AND_PRINT, handle],
    }
    seconds: dict[str, list[float]] = {side: [] for side in commands}
    for turn in range(-1, size.rounds):
        paths = set()
        for side, command in in_turn(commands, turn):
            done = stand.process(command)
            seconds[side].append(done.seconds)
            paths.add(done.words[-1])
        assert len(paths) == 1, f"the two found different models: {paths}"
    own, peer = seconds["ours"][1:], seconds["peer"][1:]
    yield Row("cli", "tfimm-resolver resolve, whole process", "ms", _milli(own), below=120)
    yield Row("cli", "hub.resolve, whole process", "ms", _milli(peer))
    yield ratios("cli", peer, own, at_least=20)


def warm(stand: Stand, size: Size) -> Iterator[Row]:
    """Measure one call for a cached model of ten files; this package checks the size of each."""
    handle = _cache_model(stand)
    seconds: dict[str, list[float]] = {side: [] for side in snippets.WARM}
    for turn in range(size.rounds):
        for side, code in in_turn(snippets.WARM, turn):
            seconds[side].append(float(stand.python(code, handle, str(_WARM_CALLS)).words[-1]))
    own, peer = seconds["ours"], seconds["peer"]
    yield Row("warm", "resolve(), every size checked", "µs", [value * 1e6 for value in own], below=80)
    yield Row("warm", "hub.resolve()", "µs", [value * 1e6 for value in peer])
    yield ratios("warm", peer, own)


def _cache_model(stand: Stand) -> str:
    """Cache a small model of ten files, and stop its origin; return its handle."""
    with stand.serve(stand.make_model(0.01, shards=_WARM_SHARDS)) as origin:
        stand.python(snippets.RESOLVE, origin.handle)
    return origin.handle


def _without_site(stand: Stand, code: str, *arguments: str) -> Done:
    """Run a snippet without ``site``, which would add the finder of an editable install to the bare interpreter."""
    spec = importlib.util.find_spec("tfimm_resolver")
    assert spec is not None
    assert spec.origin is not None
    path = f"{Path(spec.origin).parents[1]}:{sysconfig.get_path('platlib')}"
    return stand.python(code, *arguments, flags=("-S",), path=path)


def _milli(seconds: list[float]) -> list[float]:
    return [value * 1e3 for value in seconds]
