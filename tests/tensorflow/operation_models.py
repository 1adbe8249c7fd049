"""Saves models with TensorFlow whose graphs touch what is outside of them, and harmless ones that look alike."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Save = Callable[[Path, Path], object]
"""Saves a model in the first directory; what it may write is in the second."""


def make_module(body: Callable[..., Any], dtype: str = "float32") -> Any:
    """Return a module with one function, of a scalar, and a variable."""
    import tensorflow as tf

    module = tf.Module()
    module.v = tf.Variable(2.0)
    module.f = tf.function(body, input_signature=[tf.TensorSpec([], dtype)])
    return module


def save_body(body: Callable[..., Any], dtype: str = "float32") -> Save:
    """Return what saves a module with that function, which receives its argument and the path of a file to write."""

    def save(into: Path, outside: Path) -> None:
        import tensorflow as tf

        target = str(outside / "written")
        tf.saved_model.save(make_module(lambda x: body(tf, x, target), dtype), str(into))

    return save


def _write(tf: Any, x: Any, path: Any) -> Any:
    tf.io.write_file(path, "x")
    return x


def _write_by_function(tf: Any, x: Any, target: str) -> Any:
    @tf.function  # type: ignore[untyped-decorator]
    def write(path: Any) -> Any:
        return _write(tf, 1.0, path)

    return x + write(tf.constant(target))


def _write_to_returned(tf: Any, x: Any, target: str) -> Any:
    name = tf.function(lambda: tf.constant(target))
    return _write(tf, x, name())


def _write_in_dataset(tf: Any, x: Any, target: str) -> Any:
    data = tf.data.Dataset.from_tensor_slices([target]).map(lambda path: _write(tf, 1, path))
    return x + tf.cast(data.reduce(0, lambda a, b: a + b), tf.float32)


def _save_checkpoint(tf: Any, x: Any, target: str) -> Any:
    prefix = tf.strings.join([tf.constant(target[:5]), tf.constant(target[5:])])
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=["a"], shape_and_slices=[""], tensors=[x])
    return x


def _register(tf: Any, x: Any, _: str) -> Any:
    data = tf.data.Dataset.range(2)._variant_tensor
    tf.raw_ops.RegisterDatasetV2(dataset=data, address="127.0.0.1:1", protocol="grpc", external_state_policy=0)
    return x


def _print_to(tf: Any, x: Any, target: str) -> Any:
    tf.print("x", output_stream=f"file://{target}")
    return x


def _serialize(tf: Any, target: str) -> bytes:
    """Return the graph of a dataset that writes a file."""
    data = tf.data.Dataset.range(1).map(lambda i: _write(tf, i, target))
    return bytes(tf.raw_ops.DatasetToGraphV2(input_dataset=data._variant_tensor).numpy())


def save_nested(into: Path, outside: Path) -> None:
    """Save a model that runs a graph which a constant contains."""
    import tensorflow as tf

    graph = _serialize(tf, str(outside / "written"))

    def run(x: Any) -> Any:
        data = tf.raw_ops.DatasetFromGraph(graph_def=tf.constant(graph))
        types: dict[str, Any] = {"output_types": [tf.int64], "output_shapes": [[]]}
        iterator = tf.raw_ops.AnonymousIteratorV3(**types)
        tf.raw_ops.MakeIterator(dataset=data, iterator=iterator)
        return x + tf.cast(tf.raw_ops.IteratorGetNext(iterator=iterator, **types)[0], tf.float32)

    tf.saved_model.save(make_module(run), str(into))


def save_resource(*, on_create: bool = False, from_variable: bool = False) -> Save:
    """Return what saves a model with a resource that writes a file when it is created, or initialized."""

    def save(into: Path, outside: Path) -> None:
        import tensorflow as tf

        target = str(outside / "written")
        path = tf.Variable(target) if from_variable else target

        class Resource(tf.saved_model.experimental.TrackableResource):  # type: ignore[misc]
            def _create_resource(self) -> Any:
                if on_create:
                    tf.io.write_file(path, "x")
                return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

            def _initialize(self) -> None:
                if not on_create:
                    tf.io.write_file(path, "x")

        module = make_module(lambda x: x)
        module.resource, module.path = Resource(), path
        tf.saved_model.save(module, str(into))

    return save


def save_captured(into: Path, outside: Path) -> None:
    """Save a model that writes to a path which its function captured."""
    import tensorflow as tf

    path = tf.constant(str(outside / "written"))
    tf.saved_model.save(make_module(lambda x: _write(tf, x, path)), str(into))


def save_lambda(into: Path, _: Path) -> None:
    """Save a model of Keras 2 with a layer that is Python code."""
    import tf_keras

    layers = [tf_keras.layers.Input((4,)), tf_keras.layers.Lambda(lambda x: x * 2)]
    tf_keras.Sequential(layers).save(into, save_format="tf")


def save_old(*, as_asset: bool = True, writes: bool = False, has_default: bool = False, is_legacy: bool = False) -> Save:
    """Return what saves a model of TensorFlow 1 with a vocabulary, which may write a file when it is loaded."""

    def save(into: Path, outside: Path) -> None:
        import tensorflow as tf

        v1, path = tf.compat.v1, outside / "vocabulary.txt"
        path.write_text("a\nb\n")
        with tf.Graph().as_default(), v1.Session() as session:
            words = v1.placeholder(tf.string, [None], name="words")
            index, line = tf.lookup.TextFileIndex.LINE_NUMBER, tf.lookup.TextFileIndex.WHOLE_LINE
            reader = tf.lookup.TextFileInitializer(str(path), tf.string, line, tf.int64, index)
            found = tf.lookup.StaticVocabularyTable(reader, 1).lookup(words)
            session.run(v1.tables_initializer())
            steps = [v1.tables_initializer()]
            if writes:
                target = str(outside / "written")
                steps.append(
                    tf.raw_ops.WriteFile(
                        filename=v1.placeholder_with_default(target, []) if has_default else target, contents="x"
                    )
                )
            builder = v1.saved_model.Builder(str(into))
            signature = v1.saved_model.predict_signature_def({"words": words}, {"found": found})
            assets = v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS) if as_asset else None
            builder.add_meta_graph_and_variables(
                session,
                ["serve"],
                {"serving_default": signature},
                assets_collection=assets,
                **{"legacy_init_op" if is_legacy else "main_op": tf.group(*steps)},
            )
            builder.save()

    return save


def save_with_asset(into: Path, outside: Path) -> None:
    """Save a model that reads its own asset, and one that has a table of words."""
    import tensorflow as tf

    path = outside / "words.txt"
    path.write_text("a\nb\n")
    module = make_module(lambda x: x)
    module.asset = tf.saved_model.Asset(str(path))
    index, line = tf.lookup.TextFileIndex.LINE_NUMBER, tf.lookup.TextFileIndex.WHOLE_LINE
    module.table = tf.lookup.StaticVocabularyTable(
        tf.lookup.TextFileInitializer(str(path), tf.string, line, tf.int64, index), 1
    )
    spec = [tf.TensorSpec([], tf.string)]
    module.g = tf.function(lambda word: (module.table.lookup(word), tf.io.read_file(module.asset)), input_signature=spec)
    tf.saved_model.save(module, str(into))


def save_tables(into: Path, _: Path) -> None:
    """Save a model with tables of texts that look like paths."""
    import tensorflow as tf

    module = make_module(lambda x: x)
    module.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["/a", "b"], [1, 2]), 0)
    module.mutable = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, 0)
    spec = [tf.TensorSpec([], tf.string)]
    module.g = tf.function(
        lambda word: module.table.lookup(word) + tf.cast(module.mutable.lookup(word), tf.int32), input_signature=spec
    )
    tf.saved_model.save(module, str(into))


def save_keras_2(into: Path, _: Path) -> None:
    """Save a model of Keras 2 with layers of several kinds, compiled."""
    import tensorflow as tf
    import tf_keras

    start = tf_keras.Input((4,))
    model = tf_keras.Model(start, tf.nn.relu(tf_keras.layers.Dense(3)(start)) * 2)
    model.compile("adam", "mse")
    model.save(into, save_format="tf")


def save_keras_2_text(into: Path, _: Path) -> None:
    """Save a model of Keras 2 that has a vocabulary."""
    import tensorflow as tf
    import tf_keras

    layers = [tf_keras.Input((), dtype=tf.string), tf_keras.layers.TextVectorization(vocabulary=["a", "b"])]
    tf_keras.Sequential(layers).save(into, save_format="tf")


def save_keras_3(into: Path, _: Path) -> None:
    """Export a model of Keras 3."""
    import keras

    layers = [keras.layers.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dropout(0.5)]
    keras.Sequential([*layers, keras.layers.Dense(2)]).export(into, verbose=False)


HOSTILE: dict[str, tuple[Save, tuple[str, str]]] = {
    "writes": (save_body(_write), ("write", "on call")),
    "calls a function that writes": (save_body(_write_by_function), ("write", "on call")),
    "writes to a returned path": (save_body(_write_to_returned), ("write", "on call")),
    "writes to a captured path": (save_captured, ("write", "on call")),
    "writes in a branch": (
        save_body(lambda tf, x, p: tf.cond(x > 0, lambda: _write(tf, x, p), lambda: x)),
        ("write", "on call"),
    ),
    "writes in a loop": (
        save_body(lambda tf, x, p: tf.while_loop(lambda i: i < 2, lambda i: [_write(tf, i + 1, p)], [0])[0]),
        ("write", "on call"),
    ),
    "writes in a dataset": (save_body(_write_in_dataset), ("write", "on call")),
    "saves to a joined path": (save_body(_save_checkpoint), ("write", "on call")),
    "prints to a file": (save_body(_print_to), ("write", "on call")),
    "caches in a file": (
        save_body(
            lambda tf, x, p: (
                x + tf.cast(tf.data.Dataset.range(3).cache(p).reduce(tf.constant(0, tf.int64), lambda a, b: a + b), tf.float32)
            )
        ),
        ("write", "on call"),
    ),
    "reads": (save_body(lambda tf, x, _: (tf.io.read_file("/etc/hostname"), x)[1]), ("read", "on call")),
    "lists files": (
        save_body(lambda tf, x, _: x + tf.cast(tf.size(tf.io.matching_files("/etc/*")), tf.float32)),
        ("read", "on call"),
    ),
    "writes to a bucket": (save_body(lambda tf, x, _: _write(tf, x, "gs://bucket/x")), ("write", "on call")),
    "registers with a server": (save_body(_register), ("network", "on call")),
    "calls Python": (save_body(lambda tf, x, _: tf.py_function(lambda a: a * 2, [x], tf.float32)), ("python", "on call")),
    "calls NumPy": (save_body(lambda tf, x, _: tf.numpy_function(lambda a: a * 2, [x], tf.float32)), ("python", "on call")),
    "writes when initialized": (save_resource(), ("write", "on load")),
    "writes when created": (save_resource(on_create=True), ("write", "on load")),
    "writes to a path in a variable": (save_resource(from_variable=True), ("write", "on load")),
    "writes in a nested graph": (save_nested, ("write", "on call")),
    "has a layer of Python": (save_lambda, ("python", "unknown")),
    "reads a foreign vocabulary": (save_old(as_asset=False), ("read", "on load")),
    "writes in its main op": (save_old(writes=True), ("write", "on load")),
    "writes in its legacy op": (save_old(writes=True, is_legacy=True), ("write", "on load")),
    "writes to a default": (save_old(writes=True, has_default=True), ("write", "on load")),
}
"""Models, each with the kind and the time of an operation that has to be found."""

HARMLESS: dict[str, Save] = {
    "a function": save_body(lambda tf, x, _: x * 2),
    "an old vocabulary": save_old(),
    "assets": save_with_asset,
    "tables": save_tables,
    "a path from the caller": save_body(lambda tf, path, _: tf.io.read_file(path), "string"),
    "a path below one from the caller": save_body(lambda tf, p, _: _write(tf, p, tf.strings.join([p, "/out"])), "string"),
    "files from the caller": save_body(lambda tf, p, _: tf.data.TFRecordDataset(p).reduce(0, lambda a, b: a + 1), "string"),
    "a print": save_body(lambda tf, x, _: (tf.print("hello", x), x)[1]),
    "a dataset in memory": save_body(
        lambda tf, x, _: x + tf.cast(tf.data.Dataset.range(3).cache().batch(2).reduce(0, lambda a, b: a + 1), tf.float32)
    ),
    "texts like paths": save_body(lambda tf, p, _: tf.strings.regex_replace(p, "^https?://.*", "/url/"), "string"),
    "control flow": save_body(
        lambda tf, x, _: tf.while_loop(lambda i: i < 3.0, lambda i: [tf.cond(i > 1, lambda: i + 1, lambda: i + 2)], [x])[0]
    ),
    "Keras 2": save_keras_2,
    "Keras 2 with a vocabulary": save_keras_2_text,
    "Keras 3": save_keras_3,
}
"""Models in which nothing may be found."""


def save_model(save: Save, folder: Path) -> Path:
    """Save a model in a new directory, without anything that it wrote meanwhile; return the directory."""
    outside = folder / "outside"
    outside.mkdir()
    save(folder / "model", outside)
    shutil.rmtree(outside)
    outside.mkdir()
    return folder / "model"
