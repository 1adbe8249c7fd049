"""Makes SavedModels in other processes."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.processes import run

_SAVE = """
    import shutil, sys
    import tensorflow as tf

    class HalfPlusTwo(tf.Module):
        def __init__(self):
            self.a, self.b = tf.Variable(0.5), tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, x):
            return {"y": self.a * x + self.b}

    model = HalfPlusTwo()
    tf.saved_model.save(model, f"{sys.argv[1]}/model", signatures=model.__call__)
    shutil.make_archive(f"{sys.argv[1]}/model", "gztar", f"{sys.argv[1]}/model")
"""


def make_half_plus_two(folder: Path) -> bytes:
    """Make the archive of a SavedModel in a separate process."""
    run(_SAVE, str(folder))
    return (folder / "model.tar.gz").read_bytes()
