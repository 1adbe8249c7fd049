"""A process that resolves each handle with tensorflow_hub, alone or with this package, and writes what it got as JSON.

``main(JOB)`` reads ``{"ours": bool, "handles": {NAME: HANDLE}, "load": {NAME: KIND}}`` from a file, and prints the results.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def main(job_path: str) -> None:
    """Do a job."""
    job = json.loads(Path(job_path).read_text())
    if job["ours"]:
        import tfimm_resolver  # noqa: F401  # registers its resolver
    import tensorflow_hub as hub

    results = {name: _resolve(hub, handle) for name, handle in job["handles"].items()}
    outputs = {name: _LOADERS[name](hub, handle) for name, handle in job["load"].items()}
    assert ("tfimm_resolver" in sys.modules) == job["ours"]
    sys.stdout.write("\n" + json.dumps({"results": results, "outputs": outputs}) + "\n")


def _resolve(hub: Any, handle: str) -> dict[str, Any]:
    try:
        path = hub.resolve(handle)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "cause": f"{error.__cause__ or ''}"}
    return {"path": path, "files": _hash_files(path.removeprefix("file://"))}


def _hash_files(path: str) -> dict[str, str]:
    found = {}
    for folder, _, names in os.walk(path):
        for name in names:
            file = os.path.join(folder, name)
            found[os.path.relpath(file, path)] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return found


def _call(hub: Any, handle: str) -> Any:
    return hub.load(handle)(_make_input()).numpy().tolist()


def _call_with_tags(hub: Any, handle: str) -> Any:
    return hub.load(handle, tags={"serve"}).signatures["serving_default"](x=_make_input()).popitem()[1].numpy().tolist()


def _call_with_options(hub: Any, handle: str) -> Any:
    import tensorflow as tf

    return hub.load(handle, options=tf.saved_model.LoadOptions())(_make_input()).numpy().tolist()


def _call_tf1(hub: Any, handle: str) -> Any:
    model = hub.load(handle)
    assert model._is_hub_module_v1
    return model.signatures["default"](_make_input())["default"].numpy().tolist()


def _call_layer(hub: Any, handle: str) -> Any:
    import tf_keras

    model = tf_keras.Sequential([hub.KerasLayer(handle, trainable=False)])
    return [model(_make_input()).numpy().tolist(), len(model.weights)]


def _call_own(hub: Any, handle: str) -> Any:
    """Load with this package if it is imported, else with tensorflow_hub."""
    package: Any = sys.modules.get("tfimm_resolver", hub)
    return package.load(handle)(_make_input()).numpy().tolist()


def _call_in_memory(hub: Any, folder: str) -> Any:
    """Load from a file system that only TensorFlow reads."""
    import tensorflow as tf

    for parent, _, names in os.walk(folder):
        target = parent.replace(folder, "ram://model", 1)
        tf.io.gfile.makedirs(target)
        for name in names:
            tf.io.gfile.copy(f"{parent}/{name}", f"{target}/{name}")
    return [hub.resolve("ram://model"), _call(hub, "ram://model")]


def _make_input() -> Any:
    import tensorflow as tf

    return tf.constant([1.0, 2.5])


_LOADERS = {
    "call": _call,
    "tags": _call_with_tags,
    "options": _call_with_options,
    "TF1": _call_tf1,
    "own": _call_own,
    "ram": _call_in_memory,
    "KerasLayer": _call_layer,
}
