"""Where a worker that does not see this disk holds the variables, this process reads their files."""

from __future__ import annotations

import contextlib
import select
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.archives import REAL, files_in, tar_gz
from tests.processes import start
from tests.tf.models import save_line
from tfimm_resolver import placement

tf = pytest.importorskip("tensorflow")

_PATIENCE_S = 90.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """Two workers, and a directory of models that neither sees; ``hidden`` is False where only memory is."""

    addresses: tuple[str, str]
    models: Path
    hidden: bool


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Real workers, in processes of their own."""
    models = tmp_path_factory.mktemp("unseen")
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_worker(models)) for _ in range(2)]
        said = [_line(worker).split() for worker in workers]
        save_line(models / "line")
        shutil.unpack_archive(REAL, models / "half")
        (models / "line.tar.gz").write_bytes(tar_gz(files_in(models / "line")))
        yield Cluster((said[0][0], said[1][0]), models, hidden=all(word == "hidden" for _, word in said))


@contextlib.contextmanager
def _worker(place: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tf.worker", str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _line(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    assert select.select([worker.stdout], [], [], _PATIENCE_S)[0], "the worker did not come up"
    return worker.stdout.readline()


_CLIENT = """
import contextlib, os, sys
import tensorflow as tf
import tfimm_resolver
from tfimm_resolver import load, load_options

first, second, models, hidden = sys.argv[1:]
handle, module = f"{models}/line", f"{models}/half"
if hidden == "False":
    # Each process has a memory of its own: no worker sees what this one keeps there.
    for folder, _, names in os.walk(models):
        there = folder.replace(models, "ram://models")
        tf.io.gfile.makedirs(there)
        for name in names:
            tf.io.gfile.copy(f"{folder}/{name}", f"{there}/{name}")
    handle, module = "line", "half"
    for name in (handle, module):
        tfimm_resolver.set_model_cache(name, f"ram://models/{name}")

def free():
    import socket
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listening.getsockname()[1]}"

def right(model):
    strategy = tf.distribute.get_strategy()
    results = strategy.experimental_local_results(strategy.run(model, args=(tf.constant([1.0, 2.0]),)))
    return all(result.numpy().tolist() == [3.0, 5.0] for result in results)

def blind(read):
    try:
        read()
    except Exception as error:
        return any(text in f"{error} {error.__cause__}" for text in ("Failed to find any matching files", "No such file"))
    return False
"""


def _run(cluster: Cluster, *code: str) -> str:
    """Run a client of the cluster; it is over when this returns."""
    client = "\n".join(map(textwrap.dedent, (_CLIENT, *code)))
    cache = str(cluster.models / "cache")
    process = start(client, *cluster.addresses, str(cluster.models), str(cluster.hidden), TFHUB_CACHE_DIR=cache)
    try:
        out, err = process.communicate(timeout=_PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0, err
    return out.strip()


def test_the_workers_do_not_see_the_models(cluster: Cluster) -> None:
    """What the tests below stand on; where the kernel forbids to hide a directory, they use memory instead."""
    found = _run(
        cluster,
        """
        tf.config.experimental_connect_to_host(first)
        path = tfimm_resolver.resolve(handle)
        with tf.device("/job:worker"):
            there = tf.io.matching_files(f"{path}/*.pb")
        with tf.device("/job:localhost"):
            here = tf.io.matching_files(f"{path}/*.pb")
        print(len(there), len(here))
        """,
    )
    assert found == "0 2"


_HOST = "tf.config.experimental_connect_to_host(first)"
_SCENES = {
    # As tf.config.experimental_connect_to_cluster(TPUClusterResolver()) leaves it, on Colab.
    "by default": (
        """
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": [first]}), master=f"grpc://{first}", task_type="worker", task_id=0)
        tf.config.experimental_connect_to_cluster(resolver)
        assert tf.constant(0).device.startswith("/job:worker")
        scope = contextlib.nullcontext()
        """,
        "/job:localhost",
    ),
    "in a device scope": (f"{_HOST}\nscope = tf.device('/job:worker')", "/job:localhost"),
    "with a OneDeviceStrategy": (
        f"{_HOST}\nscope = tf.distribute.OneDeviceStrategy('/job:worker/task:0/device:CPU:0').scope()",
        "/job:localhost",
    ),
    "with a MirroredStrategy": (
        f"""
        {_HOST}
        devices = ["/job:worker/task:0/device:CPU:0", "/job:worker/task:0/device:CPU:1"]
        scope = tf.distribute.MirroredStrategy(devices).scope()
        """,
        "/job:localhost",
    ),
    "on a second task": (
        """
        tf.config.experimental_connect_to_cluster(tf.train.ClusterSpec({"worker": [first, second]}))
        scope = tf.device("/job:worker/task:1/device:CPU:0")
        """,
        "/job:localhost/replica:0/task:0/device:CPU:0",
    ),
    "where the local job is called chief": (
        """
        spec = tf.train.ClusterSpec({"chief": [free()], "worker": [first]})
        tf.config.experimental_connect_to_cluster(spec, job_name="chief", task_index=0)
        scope = tf.device("/job:worker/task:0/device:CPU:0")
        """,
        "/job:chief/replica:0/task:0/device:CPU:0",
    ),
}


@pytest.mark.parametrize("scene", _SCENES)
def test_loads_onto_a_worker_that_does_not_see_the_files(scene: str, cluster: Cluster) -> None:
    connect, io_device = _SCENES[scene]
    said = _run(
        cluster,
        connect,
        """
        with scope:
            print(load_options(handle).experimental_io_device)
            model = load(handle)
            assert right(model)
            for variable in tf.distribute.get_strategy().experimental_local_results(model.slope):
                assert variable.device.startswith("/job:worker"), variable.device
                assert variable.numpy() == 2.0
            assert right(tf.saved_model.load(tfimm_resolver.resolve(handle), options=load_options(handle)))
            # Without the rule nothing of this holds.
            assert blind(lambda: tf.saved_model.load(tfimm_resolver.resolve(handle)))
            assert blind(lambda: load(handle, io_device=None))
        """,
    )
    assert said == io_device


def test_the_documented_literal_is_not_enough_on_a_second_task(cluster: Cluster) -> None:
    """Why the rule falls back on the local device in full."""
    connect, _ = _SCENES["on a second task"]
    said = _run(
        cluster,
        connect,
        """
        with scope:
            try:
                load(handle, io_device="/job:localhost")
            except tfimm_resolver.errors.LoadError as error:
                print(error.__cause__)
        """,
    )
    assert "unknown device" in said


def test_every_way_that_takes_a_handle_loads_on_a_worker(cluster: Cluster) -> None:
    said = _run(
        cluster,
        """
        import tensorflow_hub as hub
        import tf_keras
        archive = f"{models}/line.tar.gz" if hidden == "True" else handle
        tf.config.experimental_connect_to_host(first)
        with tf.device("/job:worker"):
            assert right(load(archive))
            assert right(hub.load(archive, options=load_options(archive)))
            model = tf_keras.Sequential([hub.KerasLayer(archive, load_options=load_options())])
            print(model(tf.constant([1.0, 2.0])).numpy().tolist())
            assert blind(lambda: hub.load(archive))
        print(os.path.dirname(tfimm_resolver.resolve(archive)))
        """,
    )
    assert said.splitlines() == ["[3.0, 5.0]", str(cluster.models / "cache") if cluster.hidden else "ram://models"]


def test_steps_back_for_buckets_and_for_the_callers_own_device(cluster: Cluster) -> None:
    said = _run(
        cluster,
        """
        tf.config.experimental_connect_to_host(first)
        theirs = tf.saved_model.LoadOptions(experimental_io_device="/job:worker", experimental_skip_checkpoint=True)
        print(load_options("gs://bucket/model").experimental_io_device)
        print(load_options(handle, io_device=None).experimental_io_device)
        print(load_options(handle, io_device="/job:elsewhere").experimental_io_device)
        print(load_options(handle, options=theirs).experimental_io_device)
        ours = load_options(handle, options=tf.saved_model.LoadOptions(experimental_skip_checkpoint=True))
        print(ours.experimental_io_device, ours.experimental_skip_checkpoint)
        with tf.device("/job:worker"):
            assert blind(lambda: load(handle, options=tf.saved_model.LoadOptions(experimental_io_device="/job:worker")))
        assert theirs.experimental_io_device == "/job:worker"
        """,
    )
    assert said.splitlines() == ["None", "None", "/job:elsewhere", "/job:worker", "/job:localhost True"]


def test_what_a_worker_reports_late_comes_out_of_load(cluster: Cluster) -> None:
    """Its operations are asynchronous: plain TensorFlow mostly believes to have loaded this module of TF1."""
    said = _run(
        cluster,
        """
        tf.config.experimental_connect_to_host(first)
        with tf.device("/job:worker"):
            print(blind(lambda: load(module, io_device=None)))
        """,
    )
    assert said == "True"


def test_sees_no_remote_worker_in_several_devices_of_this_process(line: Path) -> None:
    process = start(
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
    try:
        out, err = process.communicate(timeout=_PATIENCE_S)
    finally:
        process.kill()
    assert out.strip() == "[[3.0, 5.0], [3.0, 5.0]]", err


def test_leaves_it_to_tensorflow_where_nothing_is_remote(tmp_path: Path) -> None:
    for path in (str(tmp_path), "", "file:///models/line", "ram://models/line", "gs://bucket/model"):
        assert placement.io_device(tf, path) is None
    with tf.device("/device:CPU:0"), tf.Graph().as_default():
        assert placement.io_device(tf, str(tmp_path)) is None
    assert placement.with_io_device(tf, None, None).experimental_io_device is None


def test_tells_what_this_process_has_to_read() -> None:
    for path in ("/models/line", "", "models/line", "file:///models/line", "ram://models/line"):
        assert placement._is_local(path), path
    for path in ("gs://bucket/line", "s3://bucket/line", "hdfs://host/line"):
        assert not placement._is_local(path), path
