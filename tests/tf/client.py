"""What clients of the workers have at hand: how they connect, and what they see of every model once it is loaded."""

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
from tests.tf.worker import MEMORY
from tfimm_resolver import load, load_options

__all__ = [
    "HERE", "SCENES", "arguments", "blind", "called", "connected", "contextlib", "in_memory", "leave", "load", "load_options",
    "models", "path_of", "places", "plain", "tf", "tfimm_resolver",
]  # fmt: skip

HERE = "/job:localhost/replica:0/task:0/device:CPU:0"

first, second, models, _sight, *arguments = sys.argv[1:]


def path_of(name: str) -> str:
    """Where a model lies, out of the workers' sight; from here on its name is a handle."""
    path = f"{models}/{name}" if _sight == "hidden" else in_memory(name)
    tfimm_resolver.set_model_cache(name, path)
    return path


def in_memory(name: str, memory: str = MEMORY) -> str:
    """The path of a copy of a model that no other process sees."""
    for folder, _, files in os.walk(f"{models}/{name}"):
        there = folder.replace(models, memory, 1)
        tf.io.gfile.makedirs(there)
        for file in files:
            tf.io.gfile.copy(f"{folder}/{file}", f"{there}/{file}", overwrite=True)
    return f"{memory}/{name}"


def free() -> str:
    """An address of this machine that nobody uses."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listening.getsockname()[1]}"


def connected() -> None:
    """Connect to the first worker; this process stays the default."""
    tf.config.experimental_connect_to_host(first)


def _by_default() -> AbstractContextManager[Any]:
    # As Colab's recipe leaves it: tf.config.experimental_connect_to_cluster(TPUClusterResolver(...)).
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(f"grpc://{first}")
    tf.config.experimental_connect_to_cluster(resolver)
    assert tf.constant(0).device.startswith("/job:worker")
    return contextlib.nullcontext()


def _device_scope() -> AbstractContextManager[Any]:
    connected()
    return tf.device("/job:worker")


def _one_device() -> AbstractContextManager[Any]:
    connected()
    return tf.distribute.OneDeviceStrategy("/job:worker/task:0/device:CPU:0").scope()


def _mirrored() -> AbstractContextManager[Any]:
    connected()
    devices = ["/job:worker/task:0/device:CPU:0", "/job:worker/task:0/device:CPU:1"]
    return tf.distribute.MirroredStrategy(devices).scope()


def _second_task() -> AbstractContextManager[Any]:
    tf.config.experimental_connect_to_cluster(tf.train.ClusterSpec({"worker": [first, second]}))
    return tf.device("/job:worker/task:1/device:CPU:0")


def _chief() -> AbstractContextManager[Any]:
    spec = tf.train.ClusterSpec({"chief": [free()], "worker": [first]})
    tf.config.experimental_connect_to_cluster(spec, job_name="chief", task_index=0)
    return tf.device("/job:worker/task:0/device:CPU:0")


def _parameter_servers() -> AbstractContextManager[Any]:
    spec = tf.train.ClusterSpec({"chief": [free()], "worker": [first], "ps": [second]})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(spec, task_type="chief", task_id=0, rpc_layer="grpc")
    return tf.distribute.ParameterServerStrategy(resolver).scope()


def _nobody() -> AbstractContextManager[Any]:
    return contextlib.nullcontext()


SCENES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "by default": _by_default,
    "in a device scope": _device_scope,
    "with a OneDeviceStrategy": _one_device,
    "with a MirroredStrategy": _mirrored,
    "on a second task": _second_task,
    "where the local job is called chief": _chief,
    "with a ParameterServerStrategy": _parameter_servers,
    "with nobody else": _nobody,
}
"""Each connects as some users do, and gives the scope in which they load."""


def called(function: Any, *values: Any) -> list[Any]:
    """What a model makes of values, which must be the same on every device that computes."""
    strategy = tf.distribute.get_strategy()
    x = tf.constant(values)
    given = function(x) if _is_for_parameters(strategy) else strategy.run(function, args=(x,))
    results = [result.numpy().tolist() for result in strategy.experimental_local_results(given)]
    assert all(result == results[0] for result in results), results
    return list(results[0])


def _is_for_parameters(strategy: Any) -> bool:
    return isinstance(strategy, tf.distribute.experimental.ParameterServerStrategy)


def places(variable: Any) -> set[str]:
    """The jobs and tasks that hold a variable."""
    parts = tf.distribute.get_strategy().experimental_local_results(variable)
    return {"/".join(part.device.split("/")[1:4:2]) for part in parts}


def plain(name: str) -> Any:
    """What TensorFlow loads by itself."""
    model = tf.saved_model.load(path_of(name))
    if any(variable.numpy().size == 0 for variable in getattr(model, "variables", [])):
        raise FileNotFoundError("of a TF1 model the error was lost on the way, and variables have no values")
    return model


def blind(read: Callable[[], Any]) -> bool:
    """Whether reading fails, as it does since the worker does not see the files."""
    try:
        read()
        with tf.experimental.async_scope():  # what the worker says late
            pass
    except (OSError, tf.errors.OpError, tfimm_resolver.errors.UnseenFilesError):
        return True
    return False


def leave() -> None:
    """End well, without the rest of Python's end, in which a strategy's threads sometimes break the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
