"""Saves one small model of each kind: each function writes one directory with the API that it is about."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.archives import REAL
from tests.tensorflow.models import save_line, save_tf1, save_words

Save = Callable[[Path], object]

ZOO: dict[str, Save] = {
    "object": save_line,
    "tables and assets": save_words,
    "hub module": lambda path: shutil.unpack_archive(REAL, path, filter="data"),
    "shards": lambda path: save_line(path, max_shard_bytes=4),
    "version 1": save_tf1,
    "version 1 with assets": lambda path: save_tf1(path, vocabulary=True),
    "version 1 with references": lambda path: save_tf1(path, references=True),
    "version 1 with a main operation": lambda path: save_tf1(path, main_op=True),
}


def _zoo(name: str) -> Callable[[Save], Save]:
    def register(save: Save) -> Save:
        ZOO[name] = save
        return save

    return register


@_zoo("stateless")
def _save_stateless(path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec(None, tf.int64)])
    tf.saved_model.save(module, str(path))


@_zoo("several signatures")
def _save_signatures(path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(tf.ones((3, 2)), trainable=False)
    spec = {"image": tf.TensorSpec([None, None, 3], tf.uint8), "mask": tf.TensorSpec(None, tf.bool)}
    module.large = tf.function(
        lambda image, mask: {"sum": tf.cast(image, tf.float32) @ module.weight, "same": mask},
        input_signature=[spec["image"], spec["mask"]],
    )
    module.small = tf.function(lambda: {"out": module.weight[0, 0]}, input_signature=[])
    signatures = {"large": module.large.get_concrete_function(), "a small one": module.small.get_concrete_function()}
    tf.saved_model.save(module, str(path), signatures=signatures)


@_zoo("types")
def _save_types(path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    types = [tf.float64, tf.float16, tf.bfloat16, tf.int8, tf.int16, tf.int32, tf.uint8, tf.uint16, tf.uint32, tf.uint64]
    types += [tf.complex64, tf.complex128, tf.bool, tf.int64]
    module.all = [tf.Variable(tf.cast(tf.ones((2, 3)), kind), trainable=kind.is_floating) for kind in types]
    module.text = tf.Variable(["a", "b"], trainable=False)
    module.any = tf.Variable(1.0, shape=tf.TensorShape(None))
    tf.saved_model.save(module, str(path))


@_zoo("control flow and a dataset")
def _save_control_flow(path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])  # type: ignore[untyped-decorator]
    def count(limit: Any) -> Any:
        total = tf.constant(0)
        for each in tf.data.Dataset.range(10).map(lambda x: x * x):
            if tf.cast(each, tf.int32) < limit:
                total += tf.cast(each, tf.int32)
        return total

    module = tf.Module()
    module.count = count
    module.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([1], [2]), 0)
    tf.saved_model.save(module, str(path))


@_zoo("extra files")
def _save_extra_files(path: Path) -> None:
    save_words(path)
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / "model card.md").write_text("# A model")
    (path / "README.md").write_text("a model")


@_zoo("several graphs")
def _save_several_graphs(path: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(str(path))
    for number, tags in enumerate((["train"], ["serve"], ["serve", "gpu"])):
        with tf.Graph().as_default(), v1.Session() as session:
            weight = v1.get_variable("weight", [4, 4])
            x = v1.placeholder(tf.float32, [None, 4])
            session.run(v1.global_variables_initializer())
            signature = v1.saved_model.predict_signature_def({"x": x}, {f"y{number}": x @ weight})
            add = builder.add_meta_graph if number else builder.add_meta_graph_and_variables
            add(*([] if number else [session]), tags, {"serving_default": signature})
    builder.save()


@_zoo("sparse signature")
def _save_sparse(path: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.sparse_placeholder(tf.float32, [None, 8])
        y = tf.sparse.reduce_sum(x, axis=1)
        v1.saved_model.simple_save(session, str(path), {"x": x}, {"y": y})


@_zoo("partitioned variable")
def _save_partitioned(path: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        parts = v1.fixed_size_partitioner(3)
        weight = v1.get_variable("weight", [10, 4], partitioner=parts, use_resource=False)
        x = v1.placeholder(tf.float32, [None, 10])
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(path), {"x": x}, {"y": x @ tf.convert_to_tensor(weight)})


@_zoo("like an estimator")
def _save_like_estimator(path: Path) -> None:
    """Save what an Estimator exports: one classifier by three methods, with examples as its input."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        step = v1.train.get_or_create_global_step()
        examples = v1.placeholder(tf.string, [None], name="input_example_tensor")
        x = v1.parse_example(examples, {"x": v1.FixedLenFeature([4], tf.float32)})["x"]
        weight = v1.get_variable("dnn/hiddenlayer_0/kernel", [4, 3])
        scores = tf.nn.softmax(x @ weight)
        classes = tf.tile(tf.constant([["a", "b", "c"]]), [tf.shape(scores)[0], 1])
        session.run(v1.global_variables_initializer())
        utils = v1.saved_model.signature_def_utils
        signatures = {
            "serving_default": utils.classification_signature_def(examples, classes, scores),
            "regression": utils.regression_signature_def(examples, scores[:, 0]),
            "predict": utils.predict_signature_def({"x": x, "step": step}, {"scores": scores}),
        }
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


@_zoo("Keras 2, trained")
def _save_trained(path: Path) -> None:
    import numpy as np
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Input([3]), tf_keras.layers.Dense(4), tf_keras.layers.BatchNormalization()])
    model.compile("adam", "mse")
    model.fit(np.ones((2, 3)), np.ones((2, 4)), verbose=0)
    model.save(str(path), save_format="tf")


@_zoo("Keras 2, functional")
def _save_functional(path: Path) -> None:
    import tf_keras

    image, number = tf_keras.Input([8, 8, 3], name="image"), tf_keras.Input([], name="number")
    found = tf_keras.layers.Flatten()(tf_keras.layers.Conv2D(2, 3)(image))
    outputs = {"label": tf_keras.layers.Dense(5)(found), "same": number * 2}
    tf_keras.Model([image, number], outputs).save(str(path), save_format="tf")


@_zoo("Keras 3 export")
def _save_export(path: Path) -> None:
    import keras

    model = keras.Sequential([keras.layers.Input([64]), keras.layers.Dense(64), keras.layers.BatchNormalization()])
    model.export(str(path), verbose=False)


@_zoo("Keras 3 object")
def _save_keras_3(path: Path) -> None:
    import keras
    import tensorflow as tf

    model = keras.Sequential([keras.layers.Input([3]), keras.layers.Dense(4)])
    tf.saved_model.save(model, str(path))


@_zoo("text graph")
def _save_text(path: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        weight = v1.get_variable("weight", [4, 4])
        x = v1.placeholder(tf.float32, [None, 4])
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], {})
        builder.save(as_text=True)
        del weight, x
