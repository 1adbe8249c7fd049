"""Where a worker that does not see this disk holds the variables, this process reads their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import run
from tests.tf.cluster import Cluster
from tfimm_resolver.loading import devices

tf = pytest.importorskip("tensorflow")


def test_the_workers_do_not_see_the_models(cluster: Cluster) -> None:
    """What the tests of this folder stand on; where the kernel forbids to hide a directory, they use memory instead."""
    found = cluster.run(
        """
        path = path_of("line")
        connected()
        with tf.device("/job:worker"):
            there = tf.io.matching_files(f"{path}/*.pb")
        with tf.device("/job:localhost"):
            here = tf.io.matching_files(f"{path}/*.pb")
        print(len(there), len(here))
        """
    )
    assert found == "0 2"


def test_the_documented_literal_is_not_enough_on_a_second_task(cluster: Cluster) -> None:
    """Why the rule falls back on the local device in full."""
    said = cluster.run(
        """
        path_of("line")
        with SCENES["on a second task"]():
            try:
                load("line", io_device="/job:localhost")
            except tfimm_resolver.errors.LoadError as error:
                print(error.__cause__)
            # Of TF1 nothing but load() reads, which takes it for what it means.
            path_of("half")
            model = load("half", io_device="/job:localhost")
            assert [places(variable) for variable in model.variables] == [{"job:worker/task:1"}] * 2
        """
    )
    assert "unknown device" in said


def test_steps_back_for_buckets_and_for_the_callers_own_device(cluster: Cluster) -> None:
    said = cluster.run(
        """
        path_of("line")
        connected()
        theirs = tf.saved_model.LoadOptions(experimental_io_device="/job:worker", experimental_skip_checkpoint=True)
        print(load_options("gs://bucket/model").experimental_io_device)
        print(load_options("line", io_device=None).experimental_io_device)
        print(load_options("line", io_device="/job:elsewhere").experimental_io_device)
        print(load_options("line", options=theirs).experimental_io_device)
        ours = load_options("line", options=tf.saved_model.LoadOptions(experimental_skip_checkpoint=True))
        print(ours.experimental_io_device, ours.experimental_skip_checkpoint)
        with tf.device("/job:worker"):
            assert blind(lambda: load("line", options=tf.saved_model.LoadOptions(experimental_io_device="/job:worker")))
        assert theirs.experimental_io_device == "/job:worker"
        """
    )
    assert said.splitlines() == ["None", "None", "/job:elsewhere", "/job:worker", "/job:localhost True"]


def test_sees_no_remote_worker_in_several_devices_of_this_process(line: Path) -> None:
    said = run(
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
    assert said == "[[3.0, 5.0], [3.0, 5.0]]"


def test_leaves_it_to_tensorflow_where_nothing_is_remote(tmp_path: Path) -> None:
    for path in (str(tmp_path), "", "file:///models/line", "ram://models/line", "gs://bucket/model"):
        assert devices.io_device(tf, path) is None
    with tf.device("/device:CPU:0"), tf.Graph().as_default():
        assert devices.io_device(tf, str(tmp_path)) is None
        assert devices.remote_tasks(tf) == set()
    assert devices.with_io_device(tf, None, None).experimental_io_device is None


def test_tells_what_this_process_has_to_read() -> None:
    for path in ("/models/line", "", "models/line", "file:///models/line", "ram://models/line"):
        assert devices.is_local(path), path
    for path in ("gs://bucket/line", "s3://bucket/line", "hdfs://host/line"):
        assert not devices.is_local(path), path
