"""Small SavedModels, made on the spot: they multiply by a number and add another."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save_line(path: Path, slope: float = 2.0, offset: float = 1.0) -> Path:
    """Save a TF2 SavedModel of ``slope * x + offset``, with two variables; returns its path."""
    import tensorflow as tf

    class Line(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.slope = tf.Variable(slope)
            self.offset = tf.Variable(offset)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return self.slope * x + self.offset

    line = Line()
    call = line.__call__.get_concrete_function()
    tf.saved_model.save(line, str(path), signatures={"serving_default": call})
    return path
