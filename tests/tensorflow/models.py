"""Saves small models that multiply by a number and add another; some look words up first."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

AnyPath = TypeVar("AnyPath", Path, str)

WORDS = ["zero", "one", "two"]


def can_save_shards() -> bool:
    """Whether TensorFlow can save variables in several files; it can since 2.17."""
    import tensorflow as tf

    return hasattr(tf.train.experimental, "MaxShardSizePolicy")


def save_line(path: AnyPath, slope: float = 2.0, offset: float = 1.0, *, max_shard_bytes: int | None = None) -> AnyPath:
    """Save a TF2 SavedModel of ``slope * x + offset``, with two variables; returns its path."""
    import tensorflow as tf

    class Line(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.slope = tf.Variable(slope, name="slope")
            self.offset = tf.Variable(offset, name="offset")

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return self.slope * x + self.offset

    line = Line()
    call = line.__call__.get_concrete_function()
    options = None
    if max_shard_bytes and can_save_shards():
        shards = tf.train.experimental.MaxShardSizePolicy(max_shard_size=max_shard_bytes)
        options = tf.saved_model.SaveOptions(experimental_sharding_callback=shards)
    tf.saved_model.save(line, str(path), signatures={"serving_default": call}, options=options)
    return path


def save_words(path: Path, slope: float = 2.0) -> Path:
    """Save a TF2 SavedModel of ``slope * index of the word``, with a vocabulary, two tables and a file to read."""
    import tensorflow as tf

    vocabulary, motto = path.with_suffix(".txt"), path.with_suffix(".motto")
    vocabulary.write_text("\n".join(WORDS))
    motto.write_text("by heart")

    class Words(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            lines = tf.lookup.TextFileIndex.LINE_NUMBER, tf.lookup.TextFileIndex.WHOLE_LINE
            positions = tf.lookup.TextFileInitializer(str(vocabulary), tf.string, lines[1], tf.int64, lines[0])
            words = tf.lookup.TextFileInitializer(str(vocabulary), tf.int64, lines[0], tf.string, lines[1])
            self.positions = tf.lookup.StaticVocabularyTable(positions, num_oov_buckets=1)
            self.words = tf.lookup.StaticHashTable(words, default_value="unknown")
            self.file = tf.saved_model.Asset(str(motto))
            self.slope = tf.Variable(slope, name="slope")

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])  # type: ignore[untyped-decorator]
        def __call__(self, words: Any) -> Any:
            return self.slope * tf.cast(self.positions.lookup(words), tf.float32)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])  # type: ignore[untyped-decorator]
        def look_up(self, positions: Any) -> Any:
            return self.words.lookup(tf.cast(positions, tf.int64))

        @tf.function(input_signature=[])  # type: ignore[untyped-decorator]
        def motto(self) -> Any:
            return tf.io.read_file(self.file.asset_path)

    words = Words()
    tf.saved_model.save(words, str(path), signatures={"serving_default": words.__call__.get_concrete_function()})
    vocabulary.unlink()
    motto.unlink()
    return path


def save_tf1(path: Path, *, vocabulary: bool = False, references: bool = False, main_op: bool = False) -> Path:
    """Save a SavedModel as TF1 did, of ``2 * x``, or ``2 * index of the word``, by its default signature.

    ``references``: with reference variables. ``main_op``: the factor is computed by an operation that runs after loading.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        slope = v1.get_variable("slope", initializer=1.0 if main_op else 2.0, use_resource=not references)
        factor = v1.get_variable("twice", initializer=0.0, collections=[v1.GraphKeys.LOCAL_VARIABLES]) if main_op else slope
        x = v1.placeholder(tf.string if vocabulary else tf.float32, [None])
        y = factor * (tf.cast(_table_of_tf1(path).lookup(x), tf.float32) if vocabulary else x)
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": v1.saved_model.predict_signature_def({"x": x}, {"y": y})},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=factor.assign(2 * slope).op if main_op else None,
        )
        builder.save()
    path.with_suffix(".txt").unlink(missing_ok=True)
    return path


def _table_of_tf1(path: Path) -> Any:
    import tensorflow as tf

    path.with_suffix(".txt").write_text("\n".join(WORDS))
    asset = tf.constant(str(path.with_suffix(".txt")))
    tf.compat.v1.add_to_collection(tf.compat.v1.GraphKeys.ASSET_FILEPATHS, asset)
    line_number, word = tf.lookup.TextFileIndex.LINE_NUMBER, tf.lookup.TextFileIndex.WHOLE_LINE
    return tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(asset, tf.string, word, tf.int64, line_number), default_value=-1
    )
