"""Loads a SavedModel for remote workers: one device reads its files, and its variables are placed on others."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import TensorTooLargeError, UnseenFilesError
from tfimm_resolver.errors.advice import Advice, join_advice
from tfimm_resolver.loading import devices

log = logging.getLogger("tfimm_resolver")

MAX_TRANSFER_BYTES = 2**31 - 1
"""The largest tensor that can be sent to another process: TensorFlow packs each into one protocol buffer."""

_ASSETS = "saved_model_assets"  # these are names of TF1 collections, see tf.compat.v1.saved_model.constants
_INIT_OPS = ("saved_model_main_op", "legacy_init_op")
_INIT_SIGNATURE = "__saved_model_init_op"
_REFERENCE_VARIABLES = ("Variable", "VariableV2")

_THIS_MACHINE = Advice(
    python="Load it with tfimm_resolver.load(), which reads it on this machine by default; "
    "for the variables alone, experimental_io_device='/job:localhost' is enough.",
    command="",
)
_BUCKET = "Keep models where every worker can read them: TFHUB_CACHE_DIR=gs://my-bucket/models"


@dataclass(frozen=True, slots=True)
class SavedModelTraits:
    """Properties of a SavedModel that decide how it can be loaded for a remote worker.

    Attributes:
        is_tf1: made by TF1; TensorFlow's loader for such models ignores ``experimental_io_device``.
        has_assets: has files, such as vocabularies, that are read when the model is loaded.
        is_graph_bound: is a TF1 graph that contains tables or reference variables, which exist only where it is loaded.
    """

    is_tf1: bool
    has_assets: bool
    is_graph_bound: bool

    @property
    def can_load_with_options(self) -> bool:
        """Whether setting ``experimental_io_device`` is enough."""
        return not (self.is_tf1 or self.has_assets)


def inspect_saved_model(tf: Any, path: str) -> SavedModelTraits:
    """Return the traits of a SavedModel; all are False if it cannot be read, an error that TensorFlow will report."""
    graphs = read_meta_graphs(tf, path)
    # tf.saved_model.load decides in the same way.
    is_tf1 = bool(graphs) and not (len(graphs) == 1 and graphs[0].HasField("object_graph_def"))
    has_assets = any(graph.asset_file_def or _ASSETS in graph.collection_def for graph in graphs)
    return SavedModelTraits(is_tf1, has_assets, is_tf1 and (has_assets or any(_has_bound_state(graph) for graph in graphs)))


def load(tf: Any, path: str, tags: Collection[str] | None, options: Any) -> Any:
    """Load as ``tf.saved_model.load`` does, but read all files on the device that the options name, if they name one.

    Variables are placed as usual: on the caller's default device, or where the strategy places them.

    Raises:
        UnseenFilesError: before anything is read, if a worker cannot see the files and TensorFlow might lose its error.
        TensorTooLargeError: before anything is read, if a variable is too large to be sent from the reader to its device.
    """
    log_earlier_errors(tf, path)
    if options.experimental_io_device is None and not devices.is_local_path(path):
        return tf.saved_model.load(path, tags=tags, options=options)  # every worker can read it
    traits, home = inspect_saved_model(tf, path), devices.get_default_device(tf)
    reader = options.experimental_io_device and devices.get_canonical_device(tf, options.experimental_io_device)
    _check_visible(tf, path, traits, reader or home, options)
    if reader is None:
        return tf.saved_model.load(path, tags=tags, options=options)
    check_transferable = _make_transfer_check(tf, path, reader)
    if traits.is_tf1:
        return _load_tf1(tf, path, tags, options, traits.is_graph_bound, reader, check_transferable)
    with contextlib.ExitStack() as stack:
        if traits.has_assets:
            # Tables are created on the device that reads their files; variables stay on their own.
            variable_device = home if _uses_default_placement(tf, options) else None
            stack.enter_context(_assign_devices(tf, variable_device, check_transferable))
            stack.enter_context(devices.use_device(tf, reader))
        else:
            stack.enter_context(_assign_devices(tf, None, check_transferable))
        return tf.saved_model.load(path, tags=tags, options=options)


def _check_visible(tf: Any, path: str, traits: SavedModelTraits, reader: str, options: Any) -> None:
    """Read one file on the devices whose read errors TensorFlow could lose later; raise UnseenFilesError if one fails."""
    reads_per_worker = isinstance(tf.distribute.get_strategy(), tf.distribute.ParameterServerStrategy)
    readers = []
    if traits.is_tf1 and not options.experimental_skip_checkpoint:
        # The error arrives late, and may be raised and ignored where TensorFlow registers a function with the worker.
        readers = [reader]
    elif traits.has_assets and reads_per_worker:
        # Each worker reads files for its own tables, in a thread of its own, where the error stays.
        readers = [f"/job:{job}/task:{number}" for job, number in devices.list_remote_tasks(tf) if job == "worker"]
    index = tf.io.gfile.join(path, "variables", "variables.index")
    for device in readers if tf.io.gfile.exists(index) else ():
        try:
            with devices.use_device(tf, device):
                tf.strings.length(tf.io.read_file(index)).numpy()
        except tf.errors.OpError as error:
            raise make_unseen_files_error(index, str(error).partition("\n")[0], reads_per_worker=reads_per_worker) from error


def make_unseen_files_error(file: str, reason: str, *, reads_per_worker: bool = False) -> UnseenFilesError:
    """Return the error for a file that a remote worker cannot see.

    ``reads_per_worker``: each worker has to read the file itself, so reading it on this machine does not help.
    """
    return UnseenFilesError(
        f"a remote worker has to read {file}, but cannot see it: the file is on this machine\n  {show(reason)}",
        fix=_BUCKET if reads_per_worker else join_advice([_THIS_MACHINE, _BUCKET]),
    )


def _load_tf1(
    tf: Any,
    path: str,
    tags: Collection[str] | None,
    options: Any,
    is_graph_bound: bool,
    reader: str,
    check_transferable: Callable[[Any], None],
) -> Any:
    if is_graph_bound:
        _warn_graph_bound(tf, path, reader)
        with devices.use_device(tf, reader):
            return tf.saved_model.load(path, tags=tags, options=options)
    # TensorFlow creates such a model's variables outside every scope, so their values have to be read in a separate step.
    unread = devices.copy_options(tf, options, {"experimental_skip_checkpoint": True})
    model = tf.saved_model.load(path, tags=tags, options=unread)
    if not options.experimental_skip_checkpoint and hasattr(model, "restore"):
        for variable in model.variables:
            check_transferable(variable)
        with devices.use_device(tf, reader):
            model.restore(tf.io.gfile.join(path, "variables", "variables"))
    return model


def log_earlier_errors(tf: Any, path: str) -> None:
    """Log errors that a worker has not reported yet, so that they are not raised as a failure to load this model.

    Garbage is collected first: when a model that was loaded before the worker was connected is collected, TensorFlow tries
    to delete it on that worker too, and fails.
    """
    gc.collect()
    try:
        devices.raise_pending_errors(tf)
    except tf.errors.OpError as error:
        reason = str(error).strip().partition("\n")[0]
        log.warning("before %s was loaded, another operation failed on a remote worker: %s", path, reason)


def warn_if_options_insufficient(tf: Any, path: str) -> None:
    """Log a warning if load options alone are not enough to load a model."""
    if not inspect_saved_model(tf, path).can_load_with_options:
        log.warning("%s has files that load options do not cover: load it with tfimm_resolver.load()", path)


def _warn_graph_bound(tf: Any, path: str, reader: str) -> None:
    home = devices.get_default_device(tf)
    if tf.distribute.has_strategy() or devices.get_task(tf, home) != devices.get_task(tf, reader):
        log.warning(
            "%s is a TensorFlow 1 model whose tables or variables exist only on the device that loaded it; "
            "call it there: with tf.device(%r): ...",
            path,
            reader,
        )


def _uses_default_placement(tf: Any, options: Any) -> bool:
    """Whether the options ignore the devices saved in the model; a strategy places variables in any case."""
    return bool(options.experimental_variable_policy == tf.saved_model.experimental.VariablePolicy.NONE)


def _make_transfer_check(tf: Any, path: str, reader: str) -> Callable[[Any], None]:
    """Return a function that raises TensorTooLargeError if a variable is too large to be sent from the reader."""
    here = devices.get_task(tf, reader)

    def check_transferable(variable: Any) -> None:
        for part in tf.distribute.get_strategy().experimental_local_results(variable):
            size_bytes = (part.shape.num_elements() or 0) * part.dtype.size  # None for an unknown shape
            if size_bytes > MAX_TRANSFER_BYTES and devices.get_task(tf, part.device) != here:
                raise make_tensor_too_large_error(path, f"its variable {part.name!r} has {size_bytes:,} bytes")

    return check_transferable


def make_tensor_too_large_error(path: str, reason: str) -> TensorTooLargeError:
    """Return the error for a tensor that is too large to be sent to another process."""
    return TensorTooLargeError(
        f"{show(path)} cannot be sent from this machine to a remote worker: {show(reason)}\n"
        "  TensorFlow cannot send tensors of 2 GB or more",
        fix="Put the model into a bucket that the worker can read, and load it from there: gs://my-bucket/model",
    )


@contextlib.contextmanager
def _assign_devices(tf: Any, home: str | None, check_transferable: Callable[[Any], None]) -> Iterator[None]:
    """Place variables that are created in this context on ``home``, unless None, and check each before its value is read."""

    def create(following: Callable[..., Any], **fields: Any) -> Any:
        with contextlib.nullcontext() if home is None else tf.device(home):
            variable = following(**fields)
        check_transferable(variable)
        return variable

    with tf.variable_creator_scope(create):
        yield


def read_meta_graphs(tf: Any, path: str) -> list[Any]:
    """Return the MetaGraphs of a SavedModel; none if it cannot be read."""
    from google.protobuf import message, text_format
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    binary, text = (
        tf.io.gfile.join(path, name)
        for name in (tf.saved_model.SAVED_MODEL_FILENAME_PB, tf.saved_model.SAVED_MODEL_FILENAME_PBTXT)
    )
    saved = SavedModel()
    try:
        if tf.io.gfile.exists(binary):
            saved.ParseFromString(_read_file(tf, binary))
        else:
            text_format.Parse(_read_file(tf, text).decode(), saved)
    except (message.DecodeError, text_format.ParseError, tf.errors.OpError):
        return []
    return list(saved.meta_graphs)


def _read_file(tf: Any, path: str) -> Any:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def _has_bound_state(graph: Any) -> bool:
    return (
        _INIT_SIGNATURE in graph.signature_def
        or any(name in graph.collection_def for name in _INIT_OPS)
        or any(node.op in _REFERENCE_VARIABLES for node in graph.graph_def.node)
    )
