"""From a handle to a loaded SavedModel: the only door to TensorFlow."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from tfimm_resolver.errors import LoadError, MissingOpError, NotASavedModelError, ResolverError, TensorFlowMissingError
from tfimm_resolver.loading import devices
from tfimm_resolver.manifest import SAVED_MODEL_FILES
from tfimm_resolver.resolution.resolver import resolve

if TYPE_CHECKING:
    import tensorflow as tf

_TF1_HUB_FILE = "tfhub_module.pb"
_MISSING_OP = re.compile(r"Op type not registered '([^']+)'")
_UNSEEN = re.compile(
    r"Failed to find any matching files for|No such file or directory|File system scheme '[^']*' not implemented"
)
"""How a worker says that it does not see a file; the last one is a TPU node's, https://github.com/tensorflow/hub/issues/604."""
_TOO_LARGE = re.compile(r"Protobuf is too large to be serialized|exceeds the 2GB protobuf limit")
"""How TensorFlow 2.21 says that a tensor is too large for another process: a copy by itself, and one within a function."""
_NOISE_PREFIXES = ("Graph execution error:", "Detected at node", "<stack traces unavailable>", 'File "')
_OP_PACKAGES = (
    (re.compile(r"Addons>"), "tensorflow_addons"),
    (re.compile(r"IO>"), "tensorflow_io"),
    (re.compile(r"SimpleML|Decision"), "tensorflow_decision_forests"),
    (re.compile(r"Struct2Tensor|DecodeProtoSparse|EquiJoin|RunLengthBefore"), "struct2tensor"),
    (
        re.compile(
            r"CaseFold|NormalizeUTF8|Sentencepiece|Wordpiece|Wordshape|RegexSplit|ConstrainedSequence|MaxSpanningTree|"
            r"Ngrams|RougeL|UnicodeScriptTokenize|WhitespaceTokenize|FastBert|FastSentencepiece|FastWordpiece|"
            r"SentenceBreak|SentenceFragments|SplitMergeTokenize|SplitMergeFromLogits|TFText>|Detokenize|TokenizerFromLogits"
        ),
        "tensorflow_text",
    ),
)
"""Which package brings an op, by how the packages name theirs."""


def load(
    handle: str | os.PathLike[str],
    *,
    tags: Collection[str] | None = None,
    options: tf.saved_model.LoadOptions | None = None,
    io_device: str | None = "auto",
) -> Any:
    """Resolve a handle and load the SavedModel there, as ``tf.saved_model.load`` does.

    Args:
        handle: see ``resolve``.
        tags: of the MetaGraph to load; for a TF1 Hub module the empty set is the default.
        options: its own ``experimental_io_device`` wins; it is not changed.
        io_device: the device that reads the files, vocabularies and other assets included, which then stay there;
            "auto" for ``/job:localhost`` where a remote worker, such as a TPU host's, could not see them, None for
            TensorFlow's own choice. Variables lie where they would anyway.

    Raises:
        NotASavedModelError: if there is none at the path.
        MissingOpError: if it needs ops of a package that is not imported.
        UnseenFilesError: if a remote worker was to read the files, and does not see them.
        TensorTooLargeError: if a variable for a remote worker is larger than what TensorFlow can send it.
        LoadError: if TensorFlow fails for any other reason, which is the error's cause.
        TensorFlowMissingError: if TensorFlow is not installed.
        ResolverError: as ``resolve`` does.
    """
    tf = import_tensorflow()
    path = resolve(handle)
    names = set(tf.io.gfile.listdir(path)) if tf.io.gfile.isdir(path) else set()
    if not names.intersection(SAVED_MODEL_FILES):
        raise _no_saved_model(tf, path, names)
    if tags is None and _TF1_HUB_FILE in names:
        tags = []
    options = _options(tf, path, options, io_device)
    with _translated(tf, path, options.experimental_io_device):
        if devices.remote_tasks(tf):
            from tfimm_resolver.loading import remote  # 1 ms that the import of the package need not cost

            model = remote.load(tf, path, tags, options)
        else:
            model = tf.saved_model.load(path, tags=tags, options=options)
        devices.raise_pending_errors(tf)
    # What hub.load notes for hub.KerasLayer, which treats such modules another way.
    model._is_hub_module_v1 = _TF1_HUB_FILE in names
    return model


def load_options(
    handle: str | os.PathLike[str] | None = None,
    *,
    options: tf.saved_model.LoadOptions | None = None,
    io_device: str | None = "auto",
) -> tf.saved_model.LoadOptions:
    """The options with which ``load`` would load, for all that takes them.

    That is ``hub.load``, ``hub.KerasLayer``, ``tf.saved_model.load`` and ``tf_keras.models.load_model``. On a remote
    worker they do for variables only: of a model with assets, or of TF1, it is logged that it needs ``load`` itself.
    Without a handle they are those of a model on this machine's disk. Raises as ``load`` does.
    """
    tf = import_tensorflow()
    path = resolve(handle) if handle is not None else ""
    options = _options(tf, path, options, io_device)
    if path and options.experimental_io_device is not None and devices.remote_tasks(tf):
        from tfimm_resolver.loading import remote

        remote.warn_if_options_insufficient(tf, path)
    return options


def _no_saved_model(tf: Any, path: str, names: set[str]) -> LoadError:
    if not names and not devices.is_local(path):
        try:
            tf.io.gfile.stat(f"{path}/saved_model.pb")  # of a bucket out of reach, isdir() says that it is no directory
        except tf.errors.NotFoundError:
            pass
        except tf.errors.OpError as error:
            return LoadError(f"TensorFlow cannot read {path}: {_reason(error)}")
    return NotASavedModelError(
        f"{path} is no SavedModel: it has neither saved_model.pb nor saved_model.pbtxt\n"
        f"  it has: {', '.join(sorted(names)[:10]) or 'nothing'}"
    )


def _options(tf: Any, path: str, options: Any, io_device: str | None) -> Any:
    device = devices.io_device(tf, path) if io_device == "auto" else io_device
    return devices.with_io_device(tf, options, device)


def import_tensorflow() -> Any:
    """TensorFlow, imported now and not before.

    Raises:
        TensorFlowMissingError: if it is not installed.
    """
    try:
        import tensorflow
    except ImportError as error:
        raise TensorFlowMissingError(f"loading needs TensorFlow: {error}", fix="pip install tensorflow") from error
    return tensorflow


@contextlib.contextmanager
def _translated(tf: Any, path: str, reader: str | None) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # TF2 models: a RuntimeError or a FileNotFoundError; TF1 models: a NotFoundError
        told = error if isinstance(error, ResolverError) else _translate_error(tf, path, reader, error)
        with contextlib.suppress(tf.errors.OpError):  # a worker may say it again, and it would be taken for the next failure
            devices.raise_pending_errors(tf)
        if told is error:
            raise
        raise told from error


def _translate_error(tf: Any, path: str, reader: str | None, error: Exception) -> LoadError:
    text, reason = str(error).strip(), _reason(error)
    if (found := _MISSING_OP.search(text)) is not None:
        return MissingOpError(f"the model needs the op {found[1]!r}, which TensorFlow does not bring", fix=_op_fix(found[1]))
    from tfimm_resolver.loading import remote

    if devices.is_local(path) and devices.remote_tasks(tf):
        if _TOO_LARGE.search(text):
            return remote.tensor_too_large_error(path, f"TensorFlow says {reason}")
        if _UNSEEN.search(text) and (file := _local_file_in_message(tf, path, text)) and not _reads_locally(tf, reader):
            return remote.files_not_visible_error(file, reason)
    return LoadError(f"TensorFlow cannot load {path}: {reason}")


def _reason(error: Exception) -> str:
    lines = (line.strip() for line in str(error).splitlines())
    return f"{type(error).__name__}: {next((line for line in lines if line and not line.startswith(_NOISE_PREFIXES)), '')}"


def _reads_locally(tf: Any, reader: str | None) -> bool:
    return reader is not None and devices.is_here(tf, reader)


def _local_file_in_message(tf: Any, path: str, text: str) -> str | None:
    """The file of the model that an error names, if it is here: what is missing here, too, has another cause."""
    files = (tf.io.gfile.join(folder, name) for folder, _, names in tf.io.gfile.walk(path) for name in names)
    return next((file for file in files if file.removesuffix(".index") in text), None)  # a checkpoint is named without


def _op_fix(op: str) -> str:
    package = next((name for pattern, name in _OP_PACKAGES if pattern.search(op)), None)
    if package is None:
        return "Import the package that brings this op before loading; the model's page names it."
    return f"pip install {package.replace('_', '-')}, then import {package} before loading."


def describe(model: Any) -> dict[str, Any]:
    """The signatures of a loaded model (shape None: unknown), and how many variables live on which device."""
    signatures = {
        name: {
            "inputs": _tensors(function.structured_input_signature[1]),
            "outputs": _tensors(function.structured_outputs),
        }
        for name, function in sorted(model.signatures.items())
    }
    return {"signatures": signatures, "variables": variables_by_device(model)}


def variables_by_device(model: Any) -> list[dict[str, Any]]:
    """How many variables of a model, and how many bytes of them, live on which device; none where it has none."""
    places: dict[str, dict[str, Any]] = {}
    variables = model.variables if hasattr(model, "variables") else _variables(model)
    for variable in map(_placed, variables):
        if variable is None:
            continue
        place = places.setdefault(variable.device, {"device": variable.device, "count": 0, "size_bytes": 0})
        place["count"] += 1
        place["size_bytes"] += (variable.shape.num_elements() or 0) * variable.dtype.size  # None for an unknown shape
    return [*places.values()]


def _placed(variable: Any) -> Any:
    """What has a device: a variable of TensorFlow's, or the one that a variable of Keras 3 holds; else None."""
    found = variable if hasattr(variable, "device") else getattr(variable, "value", None)
    return found if hasattr(found, "device") else None


def _variables(model: Any) -> list[Any]:
    """Every variable that some signature reads; a SavedModel's own object need not list them."""
    functions = getattr(model, "signatures", {}).values()
    found = {id(variable): variable for function in functions for variable in function.variables}
    return list(found.values())


def _tensors(specs: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "dtype": spec.dtype.name, "shape": _shape(spec)} for name, spec in sorted(specs.items())]


def _shape(spec: Any) -> list[int | None] | None:
    return None if spec.shape.rank is None else spec.shape.as_list()
