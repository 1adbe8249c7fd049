"""Names that every client program imports: ways to connect to the workers, and checks of loaded models."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

import tfimm_resolver
from tests.tensorflow.worker import MEMORY
from tfimm_resolver import load, load_options

__all__ = [
    "HERE", "SCENES", "arguments", "connect_worker", "contextlib", "copy_to_memory", "exit_cleanly", "is_unreadable",
    "list_tasks", "load", "load_options", "load_plainly", "models", "register_model", "run_model", "tf",
    "tfimm_resolver",
]  # fmt: skip

HERE = "/job:localhost/replica:0/task:0/device:CPU:0"

first, second, models, _visibility, *arguments = sys.argv[1:]


def register_model(name: str) -> str:
    """Register the path of a model, invisible to the workers, under its name; returns the path."""
    path = f"{models}/{name}" if _visibility == "hidden" else copy_to_memory(name)
    tfimm_resolver.set_model_cache(name, path)
    return path


def copy_to_memory(name: str, memory: str = MEMORY) -> str:
    """Copy a model into the memory of this process, which no other process sees; returns its path."""
    for folder, _, files in os.walk(f"{models}/{name}"):
        there = folder.replace(models, memory, 1)
        tf.io.gfile.makedirs(there)
        for file in files:
            tf.io.gfile.copy(f"{folder}/{file}", f"{there}/{file}", overwrite=True)
    return f"{memory}/{name}"


def find_free_address() -> str:
    """Return a free address on this machine."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listening.getsockname()[1]}"


def connect_worker() -> None:
    """Connect to the first worker; this process stays the default device."""
    tf.config.experimental_connect_to_host(first)


def _connect_default() -> AbstractContextManager[Any]:
    # As in Colab's instructions: tf.config.experimental_connect_to_cluster(TPUClusterResolver(...)).
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(f"grpc://{first}")
    tf.config.experimental_connect_to_cluster(resolver)
    assert tf.constant(0).device.startswith("/job:worker")
    return contextlib.nullcontext()


def _use_device_scope() -> AbstractContextManager[Any]:
    connect_worker()
    return tf.device("/job:worker")


def _use_one_device() -> AbstractContextManager[Any]:
    connect_worker()
    return tf.distribute.OneDeviceStrategy("/job:worker/task:0/device:CPU:0").scope()


def _use_mirrors() -> AbstractContextManager[Any]:
    connect_worker()
    devices = ["/job:worker/task:0/device:CPU:0", "/job:worker/task:0/device:CPU:1"]
    return tf.distribute.MirroredStrategy(devices).scope()


def _use_second_task() -> AbstractContextManager[Any]:
    tf.config.experimental_connect_to_cluster(tf.train.ClusterSpec({"worker": [first, second]}))
    return tf.device("/job:worker/task:1/device:CPU:0")


def _use_chief() -> AbstractContextManager[Any]:
    spec = tf.train.ClusterSpec({"chief": [find_free_address()], "worker": [first]})
    tf.config.experimental_connect_to_cluster(spec, job_name="chief", task_index=0)
    return tf.device("/job:worker/task:0/device:CPU:0")


def _use_parameter_servers() -> AbstractContextManager[Any]:
    spec = tf.train.ClusterSpec({"chief": [find_free_address()], "worker": [first], "ps": [second]})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(spec, task_type="chief", task_id=0, rpc_layer="grpc")
    return tf.distribute.ParameterServerStrategy(resolver).scope()


def _connect_nothing() -> AbstractContextManager[Any]:
    return contextlib.nullcontext()


SCENES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "by default": _connect_default,
    "in a device scope": _use_device_scope,
    "with a OneDeviceStrategy": _use_one_device,
    "with a MirroredStrategy": _use_mirrors,
    "on a second task": _use_second_task,
    "where the local job is called chief": _use_chief,
    "with a ParameterServerStrategy": _use_parameter_servers,
    "without workers": _connect_nothing,
}
"""Ways to connect that users have; each returns the scope in which models are loaded."""


def run_model(function: Any, *values: Any) -> list[Any]:
    """Run a model on values and return the results, which must be the same on every device."""
    strategy = tf.distribute.get_strategy()
    x = tf.constant(values)
    results = function(x) if _uses_parameter_servers(strategy) else strategy.run(function, args=(x,))
    outputs = [result.numpy().tolist() for result in strategy.experimental_local_results(results)]
    assert all(output == outputs[0] for output in outputs), outputs
    return list(outputs[0])


def _uses_parameter_servers(strategy: Any) -> bool:
    return isinstance(strategy, tf.distribute.experimental.ParameterServerStrategy)


def list_tasks(variable: Any) -> set[str]:
    """Return the jobs and tasks that hold a variable."""
    parts = tf.distribute.get_strategy().experimental_local_results(variable)
    return {"/".join(part.device.split("/")[1:4:2]) for part in parts}


def load_plainly(name: str) -> Any:
    """Load with TensorFlow alone; raise if it has lost a read error."""
    model = tf.saved_model.load(register_model(name))
    if any(variable.numpy().size == 0 for variable in getattr(model, "variables", [])):
        raise FileNotFoundError("the error was lost, and the variables of the TF1 model have no values")
    return model


def is_unreadable(read: Callable[[], Any]) -> bool:
    """Whether reading fails because the worker does not see the files."""
    try:
        read()
        with tf.experimental.async_scope():  # errors that the worker reports late
            pass
    except (OSError, tf.errors.OpError, tfimm_resolver.errors.UnseenFilesError):
        return True
    return False


def exit_cleanly() -> None:
    """Exit with success, skipping Python's shutdown, in which threads of a strategy sometimes crash the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
