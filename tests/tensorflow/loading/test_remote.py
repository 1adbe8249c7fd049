"""Models with all kinds of files load onto workers that cannot see them, and compute the right numbers."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import files_in, tar_gz
from tests.tensorflow.cluster import Cluster, wait_for_client

pytest.importorskip("tensorflow")

_HERE, _CHIEF = "/job:localhost/replica:0/task:0/device:CPU:0", "/job:chief/replica:0/task:0/device:CPU:0"
_SCENES = {
    # For each: where the scope places variables, the device that the rule chooses, and where operations run by default.
    "by default": ("job:worker/task:0", "/job:localhost", "job:worker/task:0"),
    "in a device scope": ("job:worker/task:0", "/job:localhost", "job:worker/task:0"),
    "with a OneDeviceStrategy": ("job:worker/task:0", "/job:localhost", "job:localhost/task:0"),
    "with a MirroredStrategy": ("job:worker/task:0", "/job:localhost", "job:worker/task:0"),
    "on a second task": ("job:worker/task:1", _HERE, "job:worker/task:1"),
    "where the local job is called chief": ("job:worker/task:0", _CHIEF, "job:worker/task:0"),
    "with a ParameterServerStrategy": ("job:ps/task:0", _CHIEF, "job:chief/task:0"),
    "without workers": ("job:localhost/task:0", "None", "job:localhost/task:0"),
}
_EVERY_MODEL = """
    scene, where, io_device, home = arguments
    for name in ("line", "shards", "words", "half", "tf1"):
        register_model(name)
    with SCENES[scene]():
        assert str(load_options("line").experimental_io_device) == io_device
        assert list_tasks(tf.Variable(0)) == {where}
        for name in ("line", "shards"):
            model = load(name)
            assert run_model(model, 1.0, 2.0) == [3.0, 5.0], name
            assert list_tasks(model.slope) | list_tasks(model.offset) == {where}, model.slope

        if "Parameter" in scene:
            try:  # each worker creates its own tables
                raise AssertionError(load("words"))
            except tfimm_resolver.errors.UnseenFilesError as error:
                assert "variables.index; No such file" in error.text, error.text  # checked before loading
                assert "gs://" in error.fix and "tfimm_resolver.load()" not in error.fix
        else:
            model = load("words")
            assert run_model(model, "one", "two", "unknown word") == [2.0, 4.0, 6.0]
            assert run_model(model.look_up, 1, 7) == [b"one", b"unknown"]
            assert list_tasks(model.slope) == {where}, model.slope
            with tf.device(None), tf.device("CPU:0"):
                assert model.motto().numpy() == b"by heart"

        model = load("half")
        assert run_model(lambda x: model.signatures["default"](x)["default"], 1.0, 2.0) == [2.5, 3.0]
        assert [list_tasks(variable) for variable in model.variables] == [{home}] * 2

        model = load("tf1")
        with tf.device(None), tf.device("CPU:0"):
            assert model.signatures["serving_default"](tf.constant(["one", "two"]))["y"].numpy().tolist() == [2.0, 4.0]

        # Without the rule, most of this fails.
        is_away = "localhost" not in where, "worker" in home
        assert (is_unreadable(lambda: load_plainly("line")), is_unreadable(lambda: load_plainly("half"))) == is_away
        assert (is_unreadable(lambda: load_plainly("shards")), is_unreadable(lambda: load_plainly("tf1"))) == is_away
        assert is_unreadable(lambda: load_plainly("words")) == is_away[0]
    print("all")
"""


@pytest.mark.parametrize("scene", _SCENES)
def test_every_model_is_loaded(scene: str, cluster: Cluster) -> None:
    assert cluster.run(_EVERY_MODEL, arguments=(scene, *_SCENES[scene])) == "all"


def test_every_way_that_takes_options_loads_on_a_worker(cluster: Cluster) -> None:
    output = cluster.run(
        """
        import tensorflow_hub as hub
        import tf_keras
        dense = tf_keras.layers.Dense(1, kernel_initializer=tf_keras.initializers.Constant(2), bias_initializer="ones")
        tf_keras.Sequential([tf_keras.Input([1]), dense]).save(f"{models}/keras")
        path, keras = register_model("line"), register_model("keras")
        connect_worker()
        x = tf.constant([1.0, 2.0])
        with tf.device("/job:worker"):
            assert run_model(tf.saved_model.load(path, options=load_options("line")), 1.0, 2.0) == [3.0, 5.0]
            assert run_model(hub.load("line", options=load_options("line")), 1.0, 2.0) == [3.0, 5.0]
            layer = hub.KerasLayer("line", load_options=load_options())
            assert tf_keras.Sequential([layer])(x).numpy().tolist() == [3.0, 5.0]
            assert list_tasks(layer.resolved_object.slope) == {"job:worker/task:0"}
            model = tf_keras.models.load_model(keras, options=load_options(keras))
            assert model(x[:, None]).numpy().tolist() == [[3.0], [5.0]]
            assert {task for weight in model.weights for task in list_tasks(weight)} == {"job:worker/task:0"}
            for read in (lambda: hub.load("line"), lambda: hub.KerasLayer("line"), lambda: tf_keras.models.load_model(keras)):
                assert is_unreadable(read)
            # Load options do not cover vocabularies; a model from load() can be passed instead.
            register_model("words")
            assert is_unreadable(lambda: hub.load("words", options=load_options()))
            words = hub.KerasLayer(load("words"))
            assert words(tf.constant(["one", "two"])).numpy().tolist() == [2.0, 4.0]
        print("all")
        """
    )
    assert output == "all"


def test_an_archive_is_unpacked_here_and_loaded_there(cluster: Cluster) -> None:
    if not cluster.hidden:
        pytest.skip("the workers see what is unpacked: this kernel has no user namespaces")
    archive = cluster.models / "line.tar.gz"
    archive.write_bytes(tar_gz(files_in(cluster.models / "line")))
    output = cluster.run(
        """
        connect_worker()
        with tf.device("/job:worker"):
            assert run_model(load(arguments[0]), 1.0, 2.0) == [3.0, 5.0]
            assert is_unreadable(lambda: tf.saved_model.load(tfimm_resolver.resolve(arguments[0])))
        print("all")
        """,
        arguments=[str(archive)],
    )
    assert output == "all"


def test_a_model_in_text_form_is_inspected_too(cluster: Cluster, rewritten: Callable[..., Path]) -> None:
    shutil.copytree(rewritten(cluster.models / "words", text=True), cluster.models / "text")
    output = cluster.run(
        """
        register_model("text")
        connect_worker()
        with tf.device("/job:worker"):
            print(run_model(load("text"), "one", "two"))
        """
    )
    assert output == "[2.0, 4.0]"


def test_the_callers_other_options_hold_on_a_worker_too(cluster: Cluster) -> None:
    output = cluster.run(
        """
        register_model("half"), register_model("words")
        connect_worker()
        skip = tf.saved_model.LoadOptions(experimental_skip_checkpoint=True)
        where_saved = tf.saved_model.LoadOptions(
            experimental_variable_policy=tf.saved_model.experimental.VariablePolicy.SAVE_VARIABLE_DEVICES
        )
        with tf.device("/job:worker"):
            for name in ("half", "words"):
                model = load(name, options=skip)
                variable = model.variables[0] if name == "half" else model.slope
                try:
                    print(name, variable.numpy().size)
                except tf.errors.FailedPreconditionError:
                    print(name, 0)
            print(list_tasks(load("words", options=where_saved).slope))
            assert len(load("half", options=skip, io_device=None).variables) == 2  # no file has to be read
        assert skip.experimental_io_device is None and where_saved.experimental_io_device is None
        """
    )
    assert output.splitlines() == ["half 0", "words 0", "{'job:localhost/task:0'}"]


_MEMBER = """
    number = arguments[0]
    for name in ("line", "words", "half", "tf1"):
        tfimm_resolver.set_model_cache(name, copy_to_memory(name, f"ram://member{number}"))
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    where = f"job:worker/task:{number}"
    with strategy.scope():
        assert load_options("line").experimental_io_device == f"/job:worker/replica:0/task:{number}/device:CPU:0"
        for name, x, y in (("line", (1.0, 2.0), [3.0, 5.0]), ("words", ("one", "two"), [2.0, 4.0])):
            model = load(name)
            assert run_model(model, *x) == y
            assert list_tasks(model.slope) == {where}, model.slope
        for name, x, y in (("half", [1.0, 2.0], [2.5, 3.0]), ("tf1", ["one", "two"], [2.0, 4.0])):
            (signature,) = load(name).signatures.values()
            (result,) = signature(tf.constant(x)).values()
            assert result.numpy().tolist() == y, name
        try:
            load("line", io_device="/job:localhost")
        except tfimm_resolver.errors.LoadError as error:
            print("unknown device" in f"{error.__cause__}")
"""


def test_every_member_of_a_team_loads_from_its_own_disk(cluster: Cluster) -> None:
    """In a MultiWorkerMirroredStrategy, each process keeps the models where no other process sees them."""
    team = {"worker": [_find_free_address(), _find_free_address()]}
    members = [
        cluster.client(
            _MEMBER, arguments=number, TF_CONFIG=json.dumps({"cluster": team, "task": {"type": "worker", "index": number}})
        )
        for number in "01"
    ]
    try:
        assert [wait_for_client(member)[0] for member in members] == ["True", "True"]
    finally:
        for member in members:
            member.kill()


def _find_free_address() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listening.getsockname()[1]}"
