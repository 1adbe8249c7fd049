"""A model that cannot be loaded for a remote worker fails at once, with a fix; other surprises are logged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tensorflow.cluster import Cluster, wait_for_client

tf = pytest.importorskip("tensorflow")


def test_loads_its_own_model_where_a_worker_has_an_older_one_at_the_same_path(cluster: Cluster) -> None:
    """Why the rule has to be applied from the start: TensorFlow alone loads wrong numbers without an error."""
    output = cluster.run(
        """
        connect_worker()
        with tf.device("/job:worker"):
            print(run_model(load_plainly("moved"), 1.0, 2.0))
            print(run_model(load("moved"), 1.0, 2.0))
        """
    )
    assert output.splitlines() == ["[8.0, 15.0]", "[3.0, 5.0]"]


def test_reports_files_that_a_worker_cannot_see(cluster: Cluster) -> None:
    client = cluster.client(
        """
        connect_worker()
        caller_options = tf.saved_model.LoadOptions(experimental_io_device="/job:worker")
        for name in ("line", "shards", "words", "half", "tf1"):
            path = register_model(name)
            for choice in ({"io_device": None}, {"options": caller_options}, {"io_device": "/job:worker"}):
                with tf.device("/job:worker"):
                    try:
                        load(name, **choice)
                    except tfimm_resolver.errors.UnseenFilesError as error:
                        assert isinstance(error, FileNotFoundError) and error.exit_code == 5
                        assert f"a remote worker has to read {path}/" in error.text, error.text
                        assert error.__cause__ is not None
                        if name in ("half", "tf1"):  # checked before loading, since TensorFlow may lose the error
                            assert "variables.index; No such file" in error.text, error.text
                        for way in ("tfimm_resolver.load()", "gs://", "experimental_io_device='/job:localhost'"):
                            assert way in error.fix, error.fix
                    else:
                        raise AssertionError((name, choice))
        print("all")
        """
    )
    out, err = wait_for_client(client)
    assert out == "all"
    assert "failed on a remote worker" not in err, "this error has been reported already"


def test_an_earlier_failure_on_a_worker_is_not_reported_as_a_failure_to_load(cluster: Cluster) -> None:
    """TensorFlow usually returns the TF1 module as loaded; its failure is raised by whatever operation comes next."""
    out, err = wait_for_client(
        cluster.client(
            """
            register_model("line")
            connect_worker()
            with tf.device("/job:worker"):
                for _ in range(20):
                    with contextlib.suppress(tf.errors.NotFoundError):
                        tf.saved_model.load(register_model("half"))
                    assert run_model(load("line"), 1.0, 2.0) == [3.0, 5.0]
            print("all")
            """
        )
    )
    assert out == "all"
    assert "line was loaded, another operation failed on a remote worker: " in err


def test_garbage_is_collected_before_a_model_is_loaded_onto_a_worker(cluster: Cluster) -> None:
    """TensorFlow deletes a collected model on the worker too; if it was never there, the next operation fails."""
    output = cluster.run(
        """
        import gc, weakref

        register_model("line")
        gc.disable()
        before = load("line")
        before.itself = before  # a cycle, so that the model itself waits for garbage collection
        seen = weakref.ref(before)
        connect_worker()
        del before
        print(seen() is None)
        original = tf.saved_model.load

        def check_and_load(*args, **options):
            print(seen() is None)
            return original(*args, **options)

        tf.saved_model.load = check_and_load
        with tf.device("/job:worker"):
            print(run_model(load("line"), 1.0, 2.0))
        """
    )
    assert output.splitlines() == ["False", "True", "[3.0, 5.0]"]


def test_garbage_is_collected_before_options_for_a_worker_are_used(cluster: Cluster) -> None:
    output = cluster.run(
        """
        import gc, weakref

        path = register_model("line")
        gc.disable()
        before = load("line")
        before.itself = before
        seen = weakref.ref(before)
        connect_worker()
        del before
        options = load_options()
        print(seen() is None)
        with tf.device("/job:worker"):
            print(run_model(tf.saved_model.load(path, options=options), 1.0, 2.0))
        """
    )
    assert output.splitlines() == ["True", "[3.0, 5.0]"]


def test_recognizes_a_worker_without_a_local_file_system(cluster: Cluster) -> None:
    """The messages of a TPU node, from https://github.com/tensorflow/hub/issues/604, and of a single operation."""
    output = cluster.run(
        """
        path = register_model("line")
        connect_worker()
        scheme = f"File system scheme '[local]' not implemented (file: '{path}/variables/variables')"
        reader = f"Unsuccessful TensorSliceReader constructor: Failed to get matching files on {path}/variables/variables"
        for error in (
            tf.errors.InvalidArgumentError(None, None, f"{reader}: Unimplemented: {scheme}"),
            tf.errors.UnimplementedError(None, None, scheme),
        ):
            print(type(tfimm_resolver.loading.loader._translate_error(tf, path, None, error)).__name__)
        """
    )
    assert output.split() == ["UnseenFilesError"] * 2


def test_load_raises_errors_that_a_worker_reports_late(cluster: Cluster) -> None:
    """Its operations are asynchronous: plain TensorFlow usually returns this TF1 module as loaded.

    The worker has an older model at the path, which lacks variables. TensorFlow loses the error now and then: of 40 loads
    on a busy machine 37 raised it, and two of plain TensorFlow's.
    """
    output = cluster.run(
        """
        register_model("renewed")
        connect_worker()
        errors = []
        with tf.device("/job:worker"):
            for _ in range(20):
                try:
                    load("renewed", io_device=None)
                except tfimm_resolver.errors.LoadError as error:
                    errors.append(type(error).__name__)
                if len(errors) == 4:
                    break
        print(*errors)
        """
    )
    assert output.split() == ["LoadError"] * 4


def test_does_not_blame_a_worker_for_what_is_missing_here(cluster: Cluster) -> None:
    for name in ("torn", "halved", "garbled"):
        shutil.copytree(cluster.models / "line", cluster.models / name)
    shutil.rmtree(cluster.models / "torn" / "variables")
    (cluster.models / "halved" / "variables" / "variables.data-00000-of-00001").unlink()
    (cluster.models / "garbled" / "saved_model.pb").write_bytes(b"no protocol buffer")
    output = cluster.run(
        """
        connect_worker()
        with tf.device("/job:worker"):
            for name, choice, text in (
                ("torn", {}, "Failed to find any matching files"),
                ("torn", {"io_device": None}, "Failed to find any matching files"),
                ("halved", {}, "No such file"),
                ("garbled", {}, "Cannot parse file"),
                ("garbled", {"io_device": None}, "Cannot parse file"),
            ):
                register_model(name)
                try:
                    load(name, **choice)
                except tfimm_resolver.errors.LoadError as error:
                    print("worker" in error.text, text in error.text)
        """
    )
    assert output.splitlines() == ["False True"] * 5


def _of_three_gigabytes(saved: Any) -> None:
    graph = saved.meta_graphs[0]
    for node in graph.object_graph_def.nodes:
        if node.HasField("variable") and node.variable.name.startswith("slope"):
            node.variable.shape.dim.add().size = 750_000_000
    for node in graph.graph_def.node if not graph.HasField("object_graph_def") else ():
        node.attr.pop("_output_shapes")
        if node.op == "VarHandleOp":
            node.attr["shape"].shape.dim.add().size = 750_000_000
        if node.name.endswith("Initializer/random_uniform/shape"):
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto([750_000_000]))


def test_a_variable_too_large_to_be_sent_is_an_error_before_anything_is_read(
    cluster: Cluster, rewritten: Callable[..., Path]
) -> None:
    output = cluster.run(
        """
        scope = SCENES["with a MirroredStrategy"]()
        def load_and_classify(path):
            try:
                load(path)
            except tfimm_resolver.errors.TensorTooLargeError as error:
                assert isinstance(error, ValueError)
                assert "3,000,000,000 bytes" in error.text and "gs://" in error.fix, error
                return "too large"
            except tfimm_resolver.errors.LoadError as error:
                return type(error).__name__
        line, tf1 = arguments
        with scope:
            print(load_and_classify(line))
        with tf.device("/job:worker"):
            print(load_and_classify(line), load_and_classify(tf1), sep=", ")
        # Here nothing has to be sent: TensorFlow reads a checkpoint that does not match, which a TF1 model does not notice.
        with tf.device(HERE):
            print(load_and_classify(line), load_and_classify(tf1), sep=", ")
        """,
        arguments=[str(rewritten(cluster.models / name, _of_three_gigabytes)) for name in ("line", "half")],
    )
    assert output.splitlines() == ["too large", "too large, too large", "LoadError, None"]


def test_recognizes_the_messages_of_tensorflow_for_a_tensor_that_is_too_large(cluster: Cluster) -> None:
    """The messages of TensorFlow 2.21 for a variable of 2,200,000,000 bytes: restored alone, and with one on another task."""
    output = cluster.run(
        """
        path = register_model("line")
        connect_worker()
        for text in (
            "Failed copying input tensor from /job:localhost/replica:0/task:0/device:CPU:0 to "
            "/job:worker/replica:0/task:0/device:CPU:0 in order to run Identity: Protobuf is too large to be serialized "
            "[Op:Identity] name: ",
            "Graph execution error:\\n\\nDetected at node RestoreV2/_2 defined at (most recent call last):\\n"
            "<stack traces unavailable>\\nFailed to encode tensor to byte buffer: Cannot encode a Tensor that exceeds the 2GB "
            "protobuf limit. Exceeded bytes: 52516352",
        ):
            error = tfimm_resolver.loading.loader._translate_error(tf, path, HERE, tf.errors.InternalError(None, None, text))
            print(type(error).__name__, "InternalError: Failed " in error.text, "gs://" in error.fix)
        """
    )
    assert output.splitlines() == ["TensorTooLargeError True True"] * 2


def test_warns_where_a_tf1_model_has_to_be_called(cluster: Cluster) -> None:
    out, err = wait_for_client(
        cluster.client(
            """
            connect_worker()
            for name, x in (("tf1", ["one", "two"]), ("old_variables", [1.0, 2.0]), ("main_op", [1.0, 2.0])):
                register_model(name)
                with tf.device("/job:worker"):
                    model = load(name)
                with tf.device(HERE):
                    print(model.signatures["serving_default"](tf.constant(x))["y"].numpy().tolist())
                load(name)  # no warning: this process is the default device
            with tf.distribute.OneDeviceStrategy("/job:worker/task:0/device:CPU:0").scope():
                load("tf1")  # a warning: the strategy runs on the worker
            """
        )
    )
    assert out.splitlines() == ["[2.0, 4.0]"] * 3
    warnings = [line for line in err.splitlines() if "TensorFlow 1 model" in line]
    assert len(warnings) == 4, err
    assert all("with tf.device('/job:localhost/replica:0/task:0/device:CPU:0'): ..." in line for line in warnings)


@pytest.mark.parametrize("name", ["legacy_init_op", "__saved_model_init_op"])
def test_finds_the_init_operation_under_its_other_names_in_tf1_models(
    name: str, cluster: Cluster, rewritten: Callable[..., Path]
) -> None:
    def change(saved: Any) -> None:
        graph = saved.meta_graphs[0]
        operation = graph.collection_def["saved_model_main_op"].node_list.value[0]
        del graph.collection_def["saved_model_main_op"]
        if name == "legacy_init_op":
            graph.collection_def[name].node_list.value.append(operation)
        else:
            graph.signature_def[name].outputs[name].name = operation

    output = cluster.run(
        """
        connect_worker()
        with tf.device("/job:worker"):
            model = load(arguments[0])
        with tf.device(HERE):
            print(model.signatures["serving_default"](tf.constant([1.0, 2.0]))["y"].numpy().tolist())
        """,
        arguments=[str(rewritten(cluster.models / "main_op", change))],
    )
    assert output == "[2.0, 4.0]"


def test_warns_about_models_for_which_options_are_not_enough(cluster: Cluster) -> None:
    _, err = wait_for_client(
        cluster.client(
            """
            connect_worker()
            for name in ("line", "words", "half"):
                register_model(name)
                load_options(name)
            load_options()
            load_options(models)  # not a model
            """
        )
    )
    warnings = [line for line in err.splitlines() if "load it with tfimm_resolver.load()" in line]
    assert [line.split()[0].rsplit("/", 1)[1] for line in warnings] == ["words", "half"], err
