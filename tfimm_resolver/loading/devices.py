"""Which device reads the files: the rule for TPU hosts and other remote workers.

On Colab's TPU node the worker is another machine without this one's disk
(https://www.tensorflow.org/hub/caching, "Running on TPU in Colab notebooks").
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

LOCALHOST = "/job:localhost"

Task = tuple[str | None, int | None]


def io_device(tf: Any, path: str) -> str | None:
    """The device that has to read a SavedModel's variables, or None where TensorFlow does right by itself.

    ``/job:localhost``, as TensorFlow's documentation has it, where that is this process and every remote task is 0;
    it fails for variables on a later task and where the local job has another name, so there the local device in full.
    Asking initialises TensorFlow's runtime.
    """
    remote = remote_tasks(tf)
    local = _local_device(tf)
    if local is None or not remote or not is_local(path):
        return None
    here, _ = task_of(tf, local)
    return LOCALHOST if here == "localhost" and all(number == 0 for _, number in remote) else local


def with_io_device(tf: Any, options: Any, device: str | None) -> Any:
    """Load options with the device set, unless the caller's own options set one; those are not changed."""
    return changed(tf, options, {} if device is None or _has_device(options) else {"experimental_io_device": device})


def changed(tf: Any, options: Any, fields: dict[str, Any]) -> Any:
    """A copy of load options, with other fields; of TensorFlow's defaults for None."""
    copy = tf.saved_model.LoadOptions()
    for name in type(copy).__slots__:
        if options is not None and hasattr(options, name):
            setattr(copy, name, getattr(options, name))
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


def remote_tasks(tf: Any) -> set[Task]:
    """The other processes whose devices are at hand; none in a TF1 graph, where one cannot ask."""
    local = _local_device(tf)
    if local is None:
        return set()
    here = task_of(tf, local)
    tasks = {task_of(tf, device.name) for device in tf.config.list_logical_devices()}
    return {task for task in tasks if task[0] and task != here}


def default_device(tf: Any) -> str:
    """Where an operation runs that says nothing of it: what the scope, or connecting to a cluster, has chosen."""
    with tf.init_scope():
        device: str = tf.constant(0).device
        return device


@contextlib.contextmanager
def on(tf: Any, device: str) -> Iterator[None]:
    """Make a device the default, whatever the caller's scope; on its CPU unless it says otherwise."""
    # None: out of the caller's scope, with which a device that is no whole name would be mixed.
    with tf.init_scope(), tf.device(None), tf.device("CPU:0"), tf.device(device):
        yield


def canonical_device(tf: Any, device: str) -> str:
    """The whole name of a device."""
    with on(tf, device):
        return default_device(tf)


def is_here(tf: Any, device: str) -> bool:
    """Whether a device is this process's."""
    local = _local_device(tf)
    return local is not None and task_of(tf, canonical_device(tf, device)) == task_of(tf, local)


def raise_pending_errors(tf: Any) -> None:
    """Raise what a remote worker has not reported yet: its operations are asynchronous."""
    with tf.experimental.async_scope():
        pass


def task_of(tf: Any, device: str) -> Task:
    """Whose a device is: job and number of the process."""
    spec = tf.DeviceSpec.from_string(device)
    return spec.job, spec.task


def is_local(path: str) -> bool:
    """Whether a path needs this process: of gs:// and its like the worker reads by itself."""
    scheme, mark, _ = path.partition("://")
    return not mark or scheme in ("file", "ram")


def _has_device(options: Any) -> bool:
    return options is not None and options.experimental_io_device is not None


def _local_device(tf: Any) -> str | None:
    """This process's CPU in full, whatever its job is called; None in a TF1 graph."""
    with tf.init_scope():
        if not tf.executing_eagerly():
            return None
        # None: out of the user's device scope, or the one that connecting to a cluster leaves behind.
        with tf.device(None), tf.device("CPU:0"):
            device: str = tf.constant(0).device
            return device
