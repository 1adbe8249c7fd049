"""Makes SavedModels in other processes."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.processes import run

_SAVE = """
    import shutil, sys
    import tensorflow as tf

    class HalfPlusTwo(tf.Module):
        def __init__(self):
            self.a, self.b = tf.Variable(float(sys.argv[2])), tf.Variable(float(sys.argv[3]))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, x):
            return {"y": self.a * x + self.b}

    model = HalfPlusTwo()
    tf.saved_model.save(model, f"{sys.argv[1]}/model", signatures=model.__call__)
    shutil.make_archive(f"{sys.argv[1]}/model", "gztar", f"{sys.argv[1]}/model")
"""


def make_half_plus_two(folder: Path, slope: float = 0.5, offset: float = 2.0) -> bytes:
    """Make the archive of a SavedModel in a separate process; by default it computes half of its input plus two."""
    run(_SAVE, str(folder), str(slope), str(offset))
    return (folder / "model.tar.gz").read_bytes()
