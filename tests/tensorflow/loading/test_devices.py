"""If variables are on a worker that cannot see this disk, this process reads their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.fork_server import ForkServer
from tests.tensorflow.cluster import Cluster
from tfimm_resolver.loading import devices

tf = pytest.importorskip("tensorflow")


def test_the_workers_do_not_see_the_models(cluster: Cluster) -> None:
    """A precondition of these tests; if the kernel does not allow hiding a directory, they use memory instead."""
    found = cluster.run(
        """
        path = register_model("line")
        connect_worker()
        with tf.device("/job:worker"):
            there = tf.io.matching_files(f"{path}/*.pb")
        with tf.device("/job:localhost"):
            here = tf.io.matching_files(f"{path}/*.pb")
        print(len(there), len(here))
        """
    )
    assert found == "0 2"


def test_the_documented_literal_is_not_enough_on_a_second_task(cluster: Cluster) -> None:
    """Why the rule falls back to the full name of the local device."""
    output = cluster.run(
        """
        register_model("line")
        with SCENES["on a second task"]():
            try:
                load("line", io_device="/job:localhost")
            except tfimm_resolver.errors.LoadError as error:
                print(error.__cause__)
            # A TF1 model is read by load() itself, which expands the name correctly.
            register_model("half")
            model = load("half", io_device="/job:localhost")
            assert [list_tasks(variable) for variable in model.variables] == [{"job:worker/task:1"}] * 2
        """
    )
    assert "unknown device" in output


def test_leaves_buckets_and_the_callers_own_device_alone(cluster: Cluster) -> None:
    output = cluster.run(
        """
        register_model("line")
        connect_worker()
        caller_options = tf.saved_model.LoadOptions(experimental_io_device="/job:worker", experimental_skip_checkpoint=True)
        print(load_options("gs://bucket/model").experimental_io_device)
        print(load_options("line", io_device=None).experimental_io_device)
        print(load_options("line", io_device="/job:elsewhere").experimental_io_device)
        print(load_options("line", options=caller_options).experimental_io_device)
        options = load_options("line", options=tf.saved_model.LoadOptions(experimental_skip_checkpoint=True))
        print(options.experimental_io_device, options.experimental_skip_checkpoint)
        with tf.device("/job:worker"):
            on_worker = tf.saved_model.LoadOptions(experimental_io_device="/job:worker")
            assert is_unreadable(lambda: load("line", options=on_worker))
        assert caller_options.experimental_io_device == "/job:worker"
        """
    )
    assert output.splitlines() == ["None", "None", "/job:elsewhere", "/job:worker", "/job:localhost True"]


def test_sees_no_remote_worker_in_several_devices_of_this_process(line: Path, server: ForkServer) -> None:
    output = server.run(
        """
        import sys
        import tensorflow as tf
        import tfimm_resolver
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            assert tfimm_resolver.load_options(sys.argv[1]).experimental_io_device is None
            model = tfimm_resolver.load(sys.argv[1])
        results = strategy.experimental_local_results(strategy.run(model, args=(tf.constant([1.0, 2.0]),)))
        print([result.numpy().tolist() for result in results])
        """,
        str(line),
    )
    assert output == "[[3.0, 5.0], [3.0, 5.0]]"


def test_leaves_it_to_tensorflow_where_nothing_is_remote(tmp_path: Path) -> None:
    for path in (str(tmp_path), "", "file:///models/line", "ram://models/line", "gs://bucket/model"):
        assert devices.choose_io_device(tf, path) is None
    with tf.device("/device:CPU:0"), tf.Graph().as_default():
        assert devices.choose_io_device(tf, str(tmp_path)) is None
        assert devices.list_remote_tasks(tf) == set()
    assert devices.add_io_device(tf, None, None).experimental_io_device is None


def test_knows_which_paths_this_process_has_to_read() -> None:
    for path in ("/models/line", "", "models/line", "file:///models/line", "ram://models/line"):
        assert devices.is_local_path(path), path
    for path in ("gs://bucket/line", "s3://bucket/line", "hdfs://host/line"):
        assert not devices.is_local_path(path), path
