"""Loads a SavedModel where a remote worker computes: one device reads its files, its variables lie on others."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from tfimm_resolver.errors import TensorTooLargeError, UnseenFilesError
from tfimm_resolver.loading import devices as loading_devices

log = logging.getLogger("tfimm_resolver")

MAX_TRANSFER_BYTES = 2**31 - 1
"""What a tensor that goes from one process to another may hold; TensorFlow packs each as one protocol buffer."""

_ASSETS = "saved_model_assets"  # this and the next are collections of TF1, see tf.compat.v1.saved_model.constants
_INIT_OPS = ("saved_model_main_op", "legacy_init_op")
_INIT_SIGNATURE = "__saved_model_init_op"
_REFERENCE_VARIABLES = ("Variable", "VariableV2")


_THIS_MACHINE = (
    "Load it with tfimm_resolver.load(), which has this machine read it unless it is told otherwise; "
    "or say experimental_io_device='/job:localhost' for the variables alone."
)
_BUCKET = "Keep models where every worker sees them: TFHUB_CACHE_DIR=gs://my-bucket/models"


@dataclass(frozen=True, slots=True)
class SavedModelTraits:
    """What of a SavedModel the load options do not say to anybody.

    Attributes:
        is_tf1: made by TF1; TensorFlow loads such models another way, which knows of no ``experimental_io_device``.
        has_assets: files, such as vocabularies, that are read when the model is loaded.
        is_bound: tables, or variables of the old kind, are part of a TF1 graph: they are there where it was loaded only.
    """

    is_tf1: bool
    has_assets: bool
    is_bound: bool

    @property
    def is_met_by_options(self) -> bool:
        """Whether ``experimental_io_device`` is all that it takes."""
        return not (self.is_tf1 or self.has_assets)


def needs(tf: Any, path: str) -> SavedModelTraits:
    """Look into a SavedModel; of one that cannot be read nothing is known, and TensorFlow will say so."""
    graphs = _meta_graphs(tf, path)
    # As tf.saved_model.load decides; nor is it of TF1 if it cannot be read.
    is_tf1 = bool(graphs) and not (len(graphs) == 1 and graphs[0].HasField("object_graph_def"))
    has_assets = any(graph.asset_file_def or _ASSETS in graph.collection_def for graph in graphs)
    return SavedModelTraits(is_tf1, has_assets, is_tf1 and (has_assets or any(_is_bound(graph) for graph in graphs)))


def load(tf: Any, path: str, tags: Collection[str] | None, options: Any) -> Any:
    """Load as ``tf.saved_model.load`` does, but all files are read by the device that the options name, if they do.

    Variables lie where they would otherwise: on the caller's default device, or where the strategy puts them.

    Raises:
        UnseenFilesError: before anything is read, if somebody would look in vain whose error might get lost.
        TensorTooLargeError: before anything is read, if a variable could not get from the reader to its device.
    """
    _tell_earlier_errors(tf, path)
    if options.experimental_io_device is None and not loading_devices.is_local(path):
        return tf.saved_model.load(path, tags=tags, options=options)  # a place that every worker sees
    needed, home = needs(tf, path), loading_devices.default_device(tf)
    reader = options.experimental_io_device and loading_devices.canonical_device(tf, options.experimental_io_device)
    _check_visible(tf, path, needed, reader or home, options)
    if reader is None:
        return tf.saved_model.load(path, tags=tags, options=options)
    must_fit = _fitting(tf, path, reader)
    if needed.is_tf1:
        return _load_tf1(tf, path, tags, options, needed.is_bound, reader, must_fit)
    with contextlib.ExitStack() as stack:
        if needed.has_assets:
            # Tables come to be where their files are read. Variables do not.
            stack.enter_context(_variables(tf, home if _is_free(tf, options) else None, must_fit))
            stack.enter_context(loading_devices.on(tf, reader))
        else:
            stack.enter_context(_variables(tf, None, must_fit))
        return tf.saved_model.load(path, tags=tags, options=options)


def _check_visible(tf: Any, path: str, needed: SavedModelTraits, reader: str, options: Any) -> None:
    """Have those read a file whose failure to do so could get lost later."""
    is_for_each = isinstance(tf.distribute.get_strategy(), tf.distribute.ParameterServerStrategy)
    devices = []
    if needed.is_tf1 and not options.experimental_skip_checkpoint:
        # It is reported late; who registers a function with the worker meanwhile takes it for a failure to do so, and goes on.
        devices = [reader]
    elif needed.has_assets and is_for_each:
        # Each worker reads files for tables of its own, and fails in a thread of its own.
        devices = [f"/job:{job}/task:{number}" for job, number in loading_devices.remote_tasks(tf) if job == "worker"]
    index = tf.io.gfile.join(path, "variables", "variables.index")
    for device in devices if tf.io.gfile.exists(index) else ():
        try:
            with loading_devices.on(tf, device):
                tf.strings.length(tf.io.read_file(index)).numpy()
        except tf.errors.OpError as error:
            raise files_not_visible_error(index, str(error).partition("\n")[0], is_for_each=is_for_each) from error


def files_not_visible_error(file: str, reason: str, *, is_for_each: bool = False) -> UnseenFilesError:
    """The error for a file that a remote worker does not see; ``is_for_each`` if no other could read it for that one."""
    return UnseenFilesError(
        f"a remote worker was to read {file}, and does not see it: it lies on this machine\n  {reason}",
        fix=_BUCKET if is_for_each else f"{_THIS_MACHINE}\n  {_BUCKET}",
    )


def _load_tf1(
    tf: Any,
    path: str,
    tags: Collection[str] | None,
    options: Any,
    is_bound: bool,
    reader: str,
    must_fit: Callable[[Any], None],
) -> Any:
    if is_bound:
        _warn_graph_bound(tf, path, reader)
        with loading_devices.on(tf, reader):
            return tf.saved_model.load(path, tags=tags, options=options)
    # TensorFlow makes such a model's variables behind the back of every scope, so reading has to be a step of its own.
    unread = loading_devices.changed(tf, options, {"experimental_skip_checkpoint": True})
    model = tf.saved_model.load(path, tags=tags, options=unread)
    if not options.experimental_skip_checkpoint and hasattr(model, "restore"):
        for variable in model.variables:
            must_fit(variable)
        with loading_devices.on(tf, reader):
            model.restore(tf.io.gfile.join(path, "variables", "variables"))
    return model


def _tell_earlier_errors(tf: Any, path: str) -> None:
    """Log what failed on a worker before and was not reported yet: it would be taken for a failure of ours.

    So would what fails when Python collects a model that was loaded before the worker was connected: it never had it.
    """
    gc.collect()
    try:
        loading_devices.raise_pending_errors(tf)
    except tf.errors.OpError as error:
        reason = str(error).strip().partition("\n")[0]
        log.warning("before %s was to be loaded, something failed on a remote worker: %s", path, reason)


def warn_if_options_insufficient(tf: Any, path: str) -> None:
    """Log that options alone will not load a model, if so it is."""
    if not needs(tf, path).is_met_by_options:
        log.warning("%s has files that load options say nothing of: load it with tfimm_resolver.load()", path)


def _warn_graph_bound(tf: Any, path: str, reader: str) -> None:
    home = loading_devices.default_device(tf)
    if tf.distribute.has_strategy() or loading_devices.task_of(tf, home) != loading_devices.task_of(tf, reader):
        log.warning(
            "%s is a model of TensorFlow 1 whose tables or variables exist only where it was loaded; "
            "call it there: with tf.device(%r): ...",
            path,
            reader,
        )


def _is_free(tf: Any, options: Any) -> bool:
    """Whether the options leave the model's own word out of where variables lie; strategies have theirs anyway."""
    return bool(options.experimental_variable_policy == tf.saved_model.experimental.VariablePolicy.NONE)


def _fitting(tf: Any, path: str, reader: str) -> Callable[[Any], None]:
    """A check that a variable can get from the reader to its device."""
    here = loading_devices.task_of(tf, reader)

    def must_fit(variable: Any) -> None:
        for part in tf.distribute.get_strategy().experimental_local_results(variable):
            size_bytes = (part.shape.num_elements() or 0) * part.dtype.size  # None for an unknown shape
            if size_bytes > MAX_TRANSFER_BYTES and loading_devices.task_of(tf, part.device) != here:
                raise tensor_too_large_error(path, f"its variable {part.name!r} has {size_bytes:,} bytes")

    return must_fit


def tensor_too_large_error(path: str, reason: str) -> TensorTooLargeError:
    """The error for a tensor over the limit."""
    return TensorTooLargeError(
        f"{path} cannot go through this machine to a remote worker: {reason}\n  TensorFlow sends no tensor of 2 GB or more",
        fix="Put the model into a bucket that the worker reads by itself, and load it from there: gs://my-bucket/model",
    )


@contextlib.contextmanager
def _variables(tf: Any, home: str | None, must_fit: Callable[[Any], None]) -> Iterator[None]:
    """Put variables that are made inside on ``home``, if there is one, and check each before its value is read."""

    def create(following: Callable[..., Any], **fields: Any) -> Any:
        with contextlib.nullcontext() if home is None else tf.device(home):
            variable = following(**fields)
        must_fit(variable)
        return variable

    with tf.variable_creator_scope(create):
        yield


def _meta_graphs(tf: Any, path: str) -> list[Any]:
    from google.protobuf import message, text_format
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    binary, text = (
        tf.io.gfile.join(path, name)
        for name in (tf.saved_model.SAVED_MODEL_FILENAME_PB, tf.saved_model.SAVED_MODEL_FILENAME_PBTXT)
    )
    saved = SavedModel()
    try:
        if tf.io.gfile.exists(binary):
            saved.ParseFromString(_read(tf, binary))
        else:
            text_format.Parse(_read(tf, text).decode(), saved)
    except (message.DecodeError, text_format.ParseError, tf.errors.OpError):
        return []
    return list(saved.meta_graphs)


def _read(tf: Any, path: str) -> Any:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def _is_bound(graph: Any) -> bool:
    return (
        _INIT_SIGNATURE in graph.signature_def
        or any(name in graph.collection_def for name in _INIT_OPS)
        or any(node.op in _REFERENCE_VARIABLES for node in graph.graph_def.node)
    )
