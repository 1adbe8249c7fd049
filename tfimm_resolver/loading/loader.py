"""Resolves a handle and loads the SavedModel; also imports TensorFlow for the rest of the package."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import LoadError, ResolverError, TensorFlowMissingError
from tfimm_resolver.errors.os_errors import map_resource_errors
from tfimm_resolver.handles.fragment import split_fragment
from tfimm_resolver.loading import devices, tree
from tfimm_resolver.resolution.resolver import ResolvedModel, resolve_to_load
from tfimm_resolver.sources import tensorflow_files

if TYPE_CHECKING:
    import tensorflow as tf

    from tfimm_resolver.loading.loaded_model import LoadedModel
    from tfimm_resolver.resolution.limits import CancelEvent

_TF1_HUB_FILE = "tfhub_module.pb"
_UNSEEN = re.compile(
    r"Failed to find any matching files for|No such file or directory|File system scheme '[^']*' not implemented"
)
"""Messages of a worker that cannot see a file; the last is a TPU node's, https://github.com/tensorflow/hub/issues/604."""
_TOO_LARGE = re.compile(r"Protobuf is too large to be serialized|exceeds the 2GB protobuf limit")
"""Messages of TensorFlow 2.21 for a tensor too large to send to another process: in eager code, and in a function."""


def load(
    handle: str | os.PathLike[str],
    *,
    tags: Collection[str] | None = None,
    options: tf.saved_model.LoadOptions | None = None,
    io_device: str | None = "auto",
    timeout_s: float | None = None,
    cancel: CancelEvent | None = None,
) -> LoadedModel:
    """Resolve a handle and load the SavedModel, as ``tf.saved_model.load`` does.

    Args:
        handle: see ``resolve``.
        tags: the tags of the MetaGraph to load; for a TF1 Hub module the default is the empty set. Needed only if there are
            several MetaGraphs; the error lists their tags.
        options: not changed; if it sets ``experimental_io_device``, that takes precedence over ``io_device``.
        io_device: the device that reads the files, including assets such as vocabularies, which then stay on it. "auto" is
            ``/job:localhost`` if a remote worker, such as a TPU host, could not see the files; None is TensorFlow's own
            choice. Variables are placed where they would be anyway.
        timeout_s: the seconds that fetching the model, and then searching it for operations, may take. A cached model is
            loaded whatever they are, and TensorFlow's own work is not limited.
        cancel: an event that ends the wait for the model, and the search; see ``resolve``.

    Raises:
        NotASavedModelError: if the path is not a SavedModel, and contains none, or several that are not versions of one.
        DamagedModelError: if files of the model are missing or cut, and TensorFlow therefore cannot load it.
        MissingOpError: if the model needs ops of a package that is not imported.
        UnseenFilesError: if a remote worker has to read the files and cannot see them.
        TensorTooLargeError: if a variable on a remote worker is larger than TensorFlow can send.
        PolicyError: if its operations are refused; TensorFlow has not read the model.
        LoadError: if TensorFlow fails for any other reason, which is the error's cause.
        TensorFlowMissingError: if TensorFlow is not installed.
        ResolverError: as ``resolve`` does.

    Example:
        >>> import tensorflow as tf
        >>> module = tf.Module()
        >>> module.scale = tf.Variable(2.0)
        >>> tf.saved_model.save(module, "models/scale")
        >>> tfimm_resolver.load("models/scale").scale.numpy().item()
        2.0
    """
    _import_with_file_systems()
    model = resolve_to_load(handle, timeout_s=timeout_s, cancel=cancel)
    subdirectory = split_fragment(os.fspath(handle))[2]
    return load_resolved(model, tags=tags, options=options, io_device=io_device, subdirectory=subdirectory)


def load_resolved(
    resolved: ResolvedModel,
    *,
    tags: Collection[str] | None = None,
    options: tf.saved_model.LoadOptions | None = None,
    io_device: str | None = "auto",
    subdirectory: str = "",
) -> LoadedModel:
    """Load the SavedModel that was resolved from a handle with that subdirectory, as ``load`` does."""
    tf = import_tensorflow()
    path, names = tree.find_model(tf, resolved.path, subdirectory)
    resolved.check.run(path)
    if tags is None and _TF1_HUB_FILE in names:
        tags = []
    options = _make_options(tf, path, options, io_device)
    model = _load_path(tf, path, tags, options)
    # hub.load sets this too: hub.KerasLayer treats TF1 Hub modules differently.
    model._is_hub_module_v1 = _TF1_HUB_FILE in names
    loaded: LoadedModel = model
    return loaded


def load_options(
    handle: str | os.PathLike[str] | None = None,
    *,
    options: tf.saved_model.LoadOptions | None = None,
    io_device: str | None = "auto",
) -> tf.saved_model.LoadOptions:
    """Return the options that ``load`` would use, for other functions that accept load options.

    Such as ``hub.load``, ``hub.KerasLayer``, ``tf.saved_model.load`` and ``tf_keras.models.load_model``. On a remote worker
    the options are enough for variables only: for a TF1 model or one with assets, a warning says to use ``load`` itself.
    Without a handle the options are those for a model on this machine's disk. Raises as ``load`` does.

    Example:
        >>> options = tfimm_resolver.load_options()
        >>> print(options.experimental_io_device)  # no remote workers: TensorFlow's own choice
        None
    """
    tf = _import_with_file_systems()
    path = ""
    if handle is not None:
        resolved = resolve_to_load(handle)
        resolved.check.run(path := resolved.path)
    options = _make_options(tf, path, options, io_device)
    if options.experimental_io_device is not None and devices.list_remote_tasks(tf):
        from tfimm_resolver.loading import remote

        remote.log_earlier_errors(tf, path or "a model")  # as before a load, for one follows
        if path:
            remote.warn_if_options_insufficient(tf, path)
    return options


def _load_path(tf: Any, path: str, tags: Collection[str] | None, options: Any) -> Any:
    with _map_errors(tf, path, options.experimental_io_device):
        if devices.list_remote_tasks(tf):
            from tfimm_resolver.loading import remote  # imported here: most programs have no remote workers

            model = remote.load(tf, path, tags, options)
        else:
            model = tf.saved_model.load(path, tags=tags, options=options)
        devices.raise_pending_errors(tf)
    return model


def _make_options(tf: Any, path: str, options: Any, io_device: str | None) -> Any:
    device = devices.choose_io_device(tf, path) if io_device == "auto" else io_device
    return devices.add_io_device(tf, options, device)


def import_tensorflow() -> Any:
    """Import TensorFlow on first use, and return it.

    Raises:
        TensorFlowMissingError: if it is not installed.
    """
    try:
        import tensorflow
    except ImportError as error:
        raise TensorFlowMissingError(
            f"loading a model needs TensorFlow: {show(error)}", fix="pip install tensorflow"
        ) from error
    return tensorflow


def _import_with_file_systems() -> Any:
    """Import TensorFlow, and let handles of all its file systems be resolved, also of those that its plug-ins added."""
    tf = import_tensorflow()
    tensorflow_files.add_schemes(tf.io.gfile.get_registered_schemes())
    return tf


@contextlib.contextmanager
def _map_errors(tf: Any, path: str, reader: str | None) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        with map_resource_errors(LoadError, f"TensorFlow cannot load {path}"):
            raise
    except Exception as error:  # TF2 models: a RuntimeError or a FileNotFoundError; TF1 models: a NotFoundError
        mapped = error if isinstance(error, ResolverError) else _translate_error(tf, path, reader, error)
        with contextlib.suppress(tf.errors.OpError):  # a worker may report it twice; the next call would raise the second
            devices.raise_pending_errors(tf)
        if mapped is error:
            raise
        raise mapped from error


def _translate_error(tf: Any, path: str, reader: str | None, error: Exception) -> LoadError:
    text, reason = str(error).strip(), tree.summarize_error(error)
    from tfimm_resolver.loading import missing_ops, remote

    if (missing_op := missing_ops.explain(path, text)) is not None:
        return missing_op

    if devices.is_local_path(path) and devices.list_remote_tasks(tf):
        if _TOO_LARGE.search(text):
            return remote.make_tensor_too_large_error(path, f"TensorFlow says {show(reason)}")
        if _UNSEEN.search(text) and (file := _local_file_in_message(tf, path, text)) and not _reads_locally(tf, reader):
            return remote.make_unseen_files_error(file, reason)
    from tfimm_resolver.loading import known_failures, tags

    known = tags.explain(tf, path, text) or known_failures.explain(path, text, reason)
    return known or LoadError(
        f"TensorFlow cannot load {show(path)}: {show(reason)}",
        fix="Inspect the model, and download it again if it is damaged; TensorFlow's own error is shown above.",
    )


def _reads_locally(tf: Any, reader: str | None) -> bool:
    return reader is not None and devices.is_local_device(tf, reader)


def _local_file_in_message(tf: Any, path: str, text: str) -> str | None:
    """Return the file of the model that an error names, if this process sees it; otherwise the file is really missing."""
    files = (tf.io.gfile.join(folder, name) for folder, _, names in tf.io.gfile.walk(path) for name in names)
    return next(
        (file for file in files if file.removesuffix(".index") in text), None
    )  # errors name a checkpoint without .index


def describe(model: Any) -> dict[str, Any]:
    """Describe a loaded model: its signatures (shape None: unknown rank), and its variables by device."""
    signatures = {
        name: {
            "inputs": _describe_tensors(function.structured_input_signature[1]),
            "outputs": _describe_tensors(function.structured_outputs),
        }
        for name, function in sorted(model.signatures.items())
    }
    return {"signatures": signatures, "variables": count_variables_by_device(model)}


def count_variables_by_device(model: Any) -> list[dict[str, Any]]:
    """Return for each device the number of variables of a model that it holds, and their size in bytes."""
    by_device: dict[str, dict[str, Any]] = {}
    variables = model.variables if hasattr(model, "variables") else _collect_variables(model)
    for variable in map(_unwrap_variable, variables):
        if variable is None:
            continue
        entry = by_device.setdefault(variable.device, {"device": variable.device, "count": 0, "size_bytes": 0})
        entry["count"] += 1
        entry["size_bytes"] += (variable.shape.num_elements() or 0) * variable.dtype.size  # None for an unknown shape
    return [*by_device.values()]


def _unwrap_variable(variable: Any) -> Any:
    """Return the TensorFlow variable that has a device; a Keras 3 variable wraps one. None if there is none."""
    found = variable if hasattr(variable, "device") else getattr(variable, "value", None)
    return found if hasattr(found, "device") else None


def _collect_variables(model: Any) -> list[Any]:
    """Return every variable that a signature reads, or that the model holds; a SavedModel object does not always list them."""
    functions = getattr(model, "signatures", {}).values()
    found = {id(variable): variable for function in functions for variable in function.variables}
    tf: Any = sys.modules.get("tensorflow")  # which a model of TensorFlow has imported; an entry point may return anything
    with contextlib.suppress(ValueError, AttributeError, TypeError):  # it cannot be tracked
        tracked = tf.train.TrackableView(model).descendants() if tf else ()
        found |= {id(one): one for one in tracked if isinstance(one, tf.Variable)}
    return list(found.values())


def _describe_tensors(specs: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "dtype": spec.dtype.name, "shape": _describe_shape(spec)} for name, spec in sorted(specs.items())]


def _describe_shape(spec: Any) -> list[int | None] | None:
    return None if spec.shape.rank is None else spec.shape.as_list()
