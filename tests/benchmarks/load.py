"""The overhead of ``load`` over TensorFlow's own loading, for a model on the local disk."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks import snippets
from tests.benchmarks.rows import Row, amount
from tests.benchmarks.stand import Size, Stand

_SIZE_MB = 60.0


def load(stand: Stand, size: Size) -> Iterator[Row]:
    """Load the same directory with both in one process, alternately; every pair gives one ratio."""
    tree = stand.folder / "saved_model"
    if not tree.exists():
        stand.python(snippets.SAVE, str(tree), str(_SIZE_MB))
    figures = [float(word) for word in stand.python(snippets.LOAD, str(tree), str(size.rounds)).words]
    own, peer = figures[0::2], figures[1::2]
    what = amount(_SIZE_MB)
    yield Row("load", f"{what}, load()", "ms", [seconds * 1e3 for seconds in own])
    yield Row("load", f"{what}, tf.saved_model.load()", "ms", [seconds * 1e3 for seconds in peer])
    pairs = [own / other for own, other in zip(own, peer, strict=True)]
    yield Row("load", f"{what}, tfimm_resolver : TensorFlow", "x", pairs, at_most=1.05)
