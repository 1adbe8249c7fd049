"""What cannot be loaded onto a remote worker is said at once, with a way out; what is only unexpected, in the log."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tf.cluster import Cluster, finished

tf = pytest.importorskip("tensorflow")


def test_loads_its_own_model_where_a_worker_has_an_older_one_at_the_same_path(cluster: Cluster) -> None:
    """Why nobody may try without the rule first: TensorFlow by itself loads wrong numbers, and says nothing."""
    said = cluster.run(
        """
        connected()
        with tf.device("/job:worker"):
            print(called(plain("moved"), 1.0, 2.0))
            print(called(load("moved"), 1.0, 2.0))
        """
    )
    assert said.splitlines() == ["[8.0, 15.0]", "[3.0, 5.0]"]


def test_says_that_a_worker_does_not_see_the_files(cluster: Cluster) -> None:
    client = cluster.client(
        """
        connected()
        theirs = tf.saved_model.LoadOptions(experimental_io_device="/job:worker")
        for name in ("line", "shards", "words", "half", "tf1"):
            path = path_of(name)
            for choice in ({"io_device": None}, {"options": theirs}, {"io_device": "/job:worker"}):
                with tf.device("/job:worker"):
                    try:
                        load(name, **choice)
                    except tfimm_resolver.errors.UnseenFilesError as error:
                        assert isinstance(error, FileNotFoundError) and error.exit_code == 5
                        assert f"was to read {path}/" in error.text, error.text
                        assert error.__cause__ is not None
                        if name in ("half", "tf1"):  # asked before, since TensorFlow may lose sight of it
                            assert "variables.index; No such file" in error.text, error.text
                        for way in ("tfimm_resolver.load()", "gs://", "experimental_io_device='/job:localhost'"):
                            assert way in error.fix, error.fix
                    else:
                        raise AssertionError((name, choice))
        print("all")
        """
    )
    out, err = finished(client)
    assert out == "all"
    assert "something failed on a remote worker" not in err, "what was told already"


def test_what_failed_on_a_worker_before_is_not_taken_for_a_failure_to_load(cluster: Cluster) -> None:
    """TensorFlow mostly believes to have loaded the module of TF1, and its failure comes out of whatever is done next."""
    out, err = finished(
        cluster.client(
            """
            path_of("line")
            connected()
            with tf.device("/job:worker"):
                for _ in range(20):
                    with contextlib.suppress(tf.errors.NotFoundError):
                        tf.saved_model.load(path_of("half"))
                    assert called(load("line"), 1.0, 2.0) == [3.0, 5.0]
            print("all")
            """
        )
    )
    assert out == "all"
    assert "line was to be loaded, something failed on a remote worker: " in err


def test_what_python_collects_is_gone_before_anything_is_loaded_onto_a_worker(cluster: Cluster) -> None:
    """Of a model of before the connection TensorFlow takes away what the worker never had: mostly the next operation fails."""
    said = cluster.run(
        """
        import gc, weakref

        path_of("line")
        gc.disable()
        before = load("line")
        before.itself = before  # else only its functions wait for a collection
        seen = weakref.ref(before)
        connected()
        del before
        print(seen() is None)
        really = tf.saved_model.load

        def noting(*given, **named):
            print(seen() is None)
            return really(*given, **named)

        tf.saved_model.load = noting
        with tf.device("/job:worker"):
            print(called(load("line"), 1.0, 2.0))
        """
    )
    assert said.splitlines() == ["False", "True", "[3.0, 5.0]"]


def test_says_so_too_of_a_worker_without_local_files(cluster: Cluster) -> None:
    """The texts of a TPU node, from https://github.com/tensorflow/hub/issues/604 and of the operation alone."""
    said = cluster.run(
        """
        path = path_of("line")
        connected()
        scheme = f"File system scheme '[local]' not implemented (file: '{path}/variables/variables')"
        reader = f"Unsuccessful TensorSliceReader constructor: Failed to get matching files on {path}/variables/variables"
        for error in (
            tf.errors.InvalidArgumentError(None, None, f"{reader}: Unimplemented: {scheme}"),
            tf.errors.UnimplementedError(None, None, scheme),
        ):
            print(type(tfimm_resolver.loading.loader._translate_error(tf, path, None, error)).__name__)
        """
    )
    assert said.split() == ["UnseenFilesError"] * 2


def test_what_a_worker_reports_late_comes_out_of_load(cluster: Cluster) -> None:
    """Its operations are asynchronous: plain TensorFlow mostly believes to have loaded this module of TF1.

    It has an older model at the path, which misses variables. Even now and then an error is lost within TensorFlow.
    """
    said = cluster.run(
        """
        path_of("renewed")
        connected()
        with tf.device("/job:worker"):
            for _ in range(7):
                try:
                    load("renewed", io_device=None)
                except tfimm_resolver.errors.LoadError as error:
                    print(type(error).__name__)
        """
    )
    assert len(said.splitlines()) > 3
    assert "UnseenFilesError" not in said


def test_does_not_blame_a_worker_for_what_is_missing_here(cluster: Cluster) -> None:
    for name in ("torn", "halved", "garbled"):
        shutil.copytree(cluster.models / "line", cluster.models / name)
    shutil.rmtree(cluster.models / "torn" / "variables")
    (cluster.models / "halved" / "variables" / "variables.data-00000-of-00001").unlink()
    (cluster.models / "garbled" / "saved_model.pb").write_bytes(b"no protocol buffer")
    said = cluster.run(
        """
        connected()
        with tf.device("/job:worker"):
            for name, choice, text in (
                ("torn", {}, "Failed to find any matching files"),
                ("torn", {"io_device": None}, "Failed to find any matching files"),
                ("halved", {}, "No such file"),
                ("garbled", {}, "Cannot parse file"),
                ("garbled", {"io_device": None}, "Cannot parse file"),
            ):
                path_of(name)
                try:
                    load(name, **choice)
                except tfimm_resolver.errors.LoadError as error:
                    print(type(error).__name__, text in error.text)
        """
    )
    assert said.splitlines() == ["LoadError True"] * 5


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


def test_says_that_a_variable_is_too_large_to_travel_before_it_reads_anything(
    cluster: Cluster, rewritten: Callable[..., Path]
) -> None:
    said = cluster.run(
        """
        scope = SCENES["with a MirroredStrategy"]()
        def said_of(path):
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
            print(said_of(line))
        with tf.device("/job:worker"):
            print(said_of(line), said_of(tf1), sep=", ")
        # Here nothing has to travel: TensorFlow reads, and finds that the file holds something else, of TF1 not even that.
        with tf.device(HERE):
            print(said_of(line), said_of(tf1), sep=", ")
        """,
        arguments=[str(rewritten(cluster.models / name, _of_three_gigabytes)) for name in ("line", "half")],
    )
    assert said.splitlines() == ["too large", "too large, too large", "LoadError, None"]


def test_knows_tensorflows_own_words_for_a_tensor_that_is_too_large(cluster: Cluster) -> None:
    """What TensorFlow 2.21 said of a variable of 2,200,000,000 bytes: restored alone, and with one on another task."""
    said = cluster.run(
        """
        path = path_of("line")
        connected()
        for text in (
            "Failed copying input tensor from /job:localhost/replica:0/task:0/device:CPU:0 to "
            "/job:worker/replica:0/task:0/device:CPU:0 in order to run Identity: Protobuf is too large to be serialized "
            "[Op:Identity] name: ",
            "Graph execution error:\\n\\nDetected at node RestoreV2/_2 defined at (most recent call last):\\n"
            "<stack traces unavailable>\\nFailed to encode tensor to byte buffer: Cannot encode a Tensor that exceeds the 2GB "
            "protobuf limit. Exceeded bytes: 52516352",
        ):
            told = tfimm_resolver.loading.loader._translate_error(tf, path, HERE, tf.errors.InternalError(None, None, text))
            print(type(told).__name__, "InternalError: Failed " in told.text, "gs://" in told.fix)
        """
    )
    assert said.splitlines() == ["TensorTooLargeError True True"] * 2


def test_says_where_a_model_of_tf1_has_to_be_called(cluster: Cluster) -> None:
    out, err = finished(
        cluster.client(
            """
            connected()
            for name, x in (("tf1", ["one", "two"]), ("old_variables", [1.0, 2.0]), ("main_op", [1.0, 2.0])):
                path_of(name)
                with tf.device("/job:worker"):
                    model = load(name)
                with tf.device(HERE):
                    print(model.signatures["serving_default"](tf.constant(x))["y"].numpy().tolist())
                load(name)  # where this process is the default, calls are here anyway
            with tf.distribute.OneDeviceStrategy("/job:worker/task:0/device:CPU:0").scope():
                load("tf1")  # what the strategy runs is there
            """
        )
    )
    assert out.splitlines() == ["[2.0, 4.0]"] * 3
    told = [line for line in err.splitlines() if "model of TensorFlow 1" in line]
    assert len(told) == 4, err
    assert all("with tf.device('/job:localhost/replica:0/task:0/device:CPU:0'): ..." in line for line in told)


@pytest.mark.parametrize("place", ["legacy_init_op", "__saved_model_init_op"])
def test_knows_where_other_writers_of_tf1_models_name_the_operation_that_comes_after_reading(
    place: str, cluster: Cluster, rewritten: Callable[..., Path]
) -> None:
    def change(saved: Any) -> None:
        graph = saved.meta_graphs[0]
        operation = graph.collection_def["saved_model_main_op"].node_list.value[0]
        del graph.collection_def["saved_model_main_op"]
        if place == "legacy_init_op":
            graph.collection_def[place].node_list.value.append(operation)
        else:
            graph.signature_def[place].outputs[place].name = operation

    said = cluster.run(
        """
        connected()
        with tf.device("/job:worker"):
            model = load(arguments[0])
        with tf.device(HERE):
            print(model.signatures["serving_default"](tf.constant([1.0, 2.0]))["y"].numpy().tolist())
        """,
        arguments=[str(rewritten(cluster.models / "main_op", change))],
    )
    assert said == "[2.0, 4.0]"


def test_options_say_for_which_models_they_do_not_suffice(cluster: Cluster) -> None:
    _, err = finished(
        cluster.client(
            """
            connected()
            for name in ("line", "words", "half"):
                path_of(name)
                load_options(name)
            load_options()
            load_options(models)  # no model at all
            """
        )
    )
    told = [line for line in err.splitlines() if "load it with tfimm_resolver.load()" in line]
    assert [line.split()[0].rsplit("/", 1)[1] for line in told] == ["words", "half"], err
