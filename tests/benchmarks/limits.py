"""Limits of this machine: each step of a fetch on its own, with the bytes of the cold case."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.benchmarks import snippets
from tests.benchmarks.rows import Row, amount
from tests.benchmarks.stand import Size, Stand, in_turn


def limits(stand: Stand, size: Size) -> Iterator[Row]:
    """Measure the seconds of each step; a fetch that includes the step cannot be faster."""
    model = stand.make_model(size.archive_mb)
    seconds: dict[str, list[float]] = {step: [] for step in snippets.LIMITS}
    copy = stand.folder / "copy"
    (weights,) = model.tree.glob("variables/*.data-*")
    with stand.serve(model) as origin:
        for turn in range(size.rounds):
            for step, code in in_turn(snippets.LIMITS, turn):
                done = stand.python(code, str(model.archive), str(weights), str(copy), origin.handle)
                seconds[step].append(float(done.words[-1]))
                copy.unlink(missing_ok=True)
                os.sync()
    for step, values in seconds.items():
        yield Row("limits", f"{amount(size.archive_mb)}, {step}", "s", values)
