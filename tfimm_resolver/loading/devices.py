"""Chooses the device that reads a model's files, for TPU hosts and other remote workers.

On Colab's TPU node the worker is another machine, which cannot read this machine's disk
(https://www.tensorflow.org/hub/caching, "Running on TPU in Colab notebooks").
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

LOCALHOST = "/job:localhost"

Task = tuple[str | None, int | None]


def choose_io_device(tf: Any, path: str) -> str | None:
    """Return the device that has to read a SavedModel's variables, or None if TensorFlow's own choice is right.

    That is ``/job:localhost``, as TensorFlow's documentation recommends, if this process is localhost and every remote task
    has number 0. It fails for variables on a later task, and where the local job has another name; the full name of the
    local device is returned in these cases. The call initialises TensorFlow's runtime.
    """
    remote = list_remote_tasks(tf)
    local = _get_local_device(tf)
    if local is None or not remote or not is_local_path(path):
        return None
    here, _ = get_task(tf, local)
    return LOCALHOST if here == "localhost" and all(number == 0 for _, number in remote) else local


def add_io_device(tf: Any, options: Any, device: str | None) -> Any:
    """Return a copy of load options with the device set, unless the caller's options set one already."""
    return copy_options(tf, options, {} if device is None or _has_device(options) else {"experimental_io_device": device})


def copy_options(tf: Any, options: Any, fields: dict[str, Any]) -> Any:
    """Return a copy of load options with some fields replaced; None stands for TensorFlow's defaults."""
    copy = tf.saved_model.LoadOptions()
    for name in type(copy).__slots__:
        if options is not None and hasattr(options, name):
            setattr(copy, name, getattr(options, name))
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


def list_remote_tasks(tf: Any) -> set[Task]:
    """Return the other processes whose devices are available; none in a TF1 graph, which cannot be asked."""
    local = _get_local_device(tf)
    if local is None:
        return set()
    here = get_task(tf, local)
    tasks = {get_task(tf, device.name) for device in tf.config.list_logical_devices()}
    return {task for task in tasks if task[0] and task != here}


def get_default_device(tf: Any) -> str:
    """Return the device on which operations run by default, as set by a device scope or by connecting to a cluster."""
    with tf.init_scope():
        device: str = tf.constant(0).device
        return device


@contextlib.contextmanager
def use_device(tf: Any, device: str) -> Iterator[None]:
    """Make a device the default, regardless of the caller's scope; its CPU unless the name says otherwise."""
    # None leaves the caller's scope: a partial device name would be merged with it.
    with tf.init_scope(), tf.device(None), tf.device("CPU:0"), tf.device(device):
        yield


def get_canonical_device(tf: Any, device: str) -> str:
    """Return the full name of a device."""
    with use_device(tf, device):
        return get_default_device(tf)


def is_local_device(tf: Any, device: str) -> bool:
    """Whether a device belongs to this process."""
    local = _get_local_device(tf)
    return local is not None and get_task(tf, get_canonical_device(tf, device)) == get_task(tf, local)


def raise_pending_errors(tf: Any) -> None:
    """Wait for pending operations of remote workers, which are asynchronous, and raise their errors."""
    with tf.experimental.async_scope():
        pass


def get_task(tf: Any, device: str) -> Task:
    """Return the process that a device belongs to, as job name and task number."""
    spec = tf.DeviceSpec.from_string(device)
    return spec.job, spec.task


def is_local_path(path: str) -> bool:
    """Whether only this process can read a path; workers read ``gs://`` and similar URLs themselves."""
    scheme, mark, _ = path.partition("://")
    return not mark or scheme in ("file", "ram")


def _has_device(options: Any) -> bool:
    return options is not None and options.experimental_io_device is not None


def _get_local_device(tf: Any) -> str | None:
    """Return the full name of this process's CPU, whatever its job is called; None in a TF1 graph."""
    with tf.init_scope():
        if not tf.executing_eagerly():
            return None
        # None leaves the user's device scope, or the one that connecting to a cluster has set.
        with tf.device(None), tf.device("CPU:0"):
            device: str = tf.constant(0).device
            return device
