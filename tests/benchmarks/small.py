"""A model of a few kilobytes that is not cached: the first download of a process, and those after it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks import snippets
from tests.benchmarks.rows import Row
from tests.benchmarks.stand import Size, Stand, in_turn

_SMALL_MB = 0.003
_DOWNLOADS = 60
_FIRST_OVER_LIBRARY_MS = 20
_LATER_RATIO = 2


def small(stand: Stand, size: Size) -> Iterator[Row]:
    """Measure downloads from loopback; this package checks and flushes everything, tensorflow_hub nothing.

    The first one imports the HTTP library, whose import alone is measured beside it.
    """
    model = stand.make_model(_SMALL_MB)
    first: dict[str, list[float]] = {side: [] for side in snippets.SMALL}
    later: dict[str, list[float]] = {side: [] for side in snippets.SMALL}
    library: list[float] = []
    with stand.serve(model) as origin:
        for turn in range(-1, size.rounds):  # the first turn warms the disk cache and the bytecode
            imported_ms = float(stand.python(snippets.IMPORT_HTTP_LIBRARY).words[-1])
            library += [imported_ms] * (turn >= 0)
            for side, code in in_turn(snippets.SMALL, turn):
                first_ms, later_ms, path = stand.python(code, origin.handle, str(_DOWNLOADS), cache="small").words[-3:]
                model.check_at(path)
                stand.remove_cache("small")
                if turn >= 0:
                    first[side].append(float(first_ms))
                    later[side].append(float(later_ms))
    over = [own - imported for own, imported in zip(first["ours"], library, strict=True)]
    yield Row("small", "import of urllib3, alone", "ms", library)
    yield Row("small", "first resolve()", "ms", first["ours"])
    yield Row("small", "first hub.resolve(), after its import", "ms", first["peer"])
    yield Row("small", "first resolve(), over the import of urllib3", "ms", over, at_most=_FIRST_OVER_LIBRARY_MS)
    yield Row("small", "later resolve(), all checks on", "ms", later["ours"])
    yield Row("small", "later hub.resolve()", "ms", later["peer"])
    ratio = [own / peer for own, peer in zip(later["ours"], later["peer"], strict=True)]
    yield Row("small", "later, tfimm_resolver : tensorflow_hub", "x", ratio, at_most=_LATER_RATIO)
