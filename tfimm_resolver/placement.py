"""Which device reads the files: the rule for TPU hosts and other remote workers.

On Colab's TPU node the worker is another machine without this one's disk
(https://www.tensorflow.org/hub/caching, "Running on TPU in Colab notebooks").
"""

from __future__ import annotations

from typing import Any

LOCALHOST = "/job:localhost"


def io_device(tf: Any, path: str) -> str | None:
    """The device that has to read a SavedModel's variables, or None where TensorFlow does right by itself.

    ``/job:localhost``, as TensorFlow's documentation has it, where that is this process and every remote task is 0;
    it fails for variables on a later task and where the local job has another name, so there the local device in full.
    Asking initialises TensorFlow's runtime.
    """
    local = _local_device(tf)
    if local is None or not _is_local(path):
        return None
    here = _task(tf, local)
    remote = [task for device in tf.config.list_logical_devices() if (task := _task(tf, device.name))[0] and task != here]
    if not remote:
        return None
    return LOCALHOST if here[0] == "localhost" and all(number == 0 for _, number in remote) else local


def with_io_device(tf: Any, options: Any, device: str | None) -> Any:
    """Load options with the device set, unless the caller's own options set one; those are not changed."""
    merged = tf.saved_model.LoadOptions()
    for name in type(merged).__slots__:
        if options is not None and hasattr(options, name):
            setattr(merged, name, getattr(options, name))
    if merged.experimental_io_device is None:
        merged.experimental_io_device = device
    return merged


def bring_out_errors(tf: Any) -> None:
    """Raise what a remote worker has not reported yet: its operations are asynchronous."""
    with tf.experimental.async_scope():
        pass


def _local_device(tf: Any) -> str | None:
    """This process's CPU in full, whatever its job is called; None in a TF1 graph."""
    with tf.init_scope():
        if not tf.executing_eagerly():
            return None
        # None: out of the user's device scope, or the one that connecting to a cluster leaves behind.
        with tf.device(None), tf.device("CPU:0"):
            device: str = tf.constant(0).device
            return device


def _task(tf: Any, device: str) -> tuple[str | None, int | None]:
    spec = tf.DeviceSpec.from_string(device)
    return spec.job, spec.task


def _is_local(path: str) -> bool:
    """Whether a path needs this process: of gs:// and its like the worker reads by itself."""
    scheme, mark, _ = path.partition("://")
    return not mark or scheme in ("file", "ram")
