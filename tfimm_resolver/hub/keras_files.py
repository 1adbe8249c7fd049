"""Checks a .keras file before Keras reads it: its config must not run code or read other files."""

from __future__ import annotations

import builtins
import contextlib
import os
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO, Any

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives import zip_reader
from tfimm_resolver.archives.member_policy import quote_name, safe_parts
from tfimm_resolver.errors import ArchiveError, LoadError
from tfimm_resolver.errors.advice import Advice

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF"
_CONFIG, _METADATA = "config.json", "metadata.json"
_JSON_BYTES_MAX = 16 << 20
_JSON_VALUES_MAX = 500_000  # the largest models of Keras have 50,000
_SHOWN_CHARACTERS = 100

_DATA = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}

_REJECTED = {
    "__lambda__": "runs Python code of the file",
    "Lambda": "runs Python code of the file",
    "TFSMLayer": "reads a SavedModel from another path",
    "TorchModuleWrapper": "unpickles a module",
    "JaxLayer": "calls functions that the file names",
    "FlaxLayer": "calls functions that the file names",
    "TensorFlowOpLayer": "runs any operation of TensorFlow, also those that read and write files",
    "ClassMethod": "calls any class method of TensorFlow",
    "InstanceMethod": "calls methods that the file names",
    "InstanceProperty": "reads properties that the file names",
    "DenseFeatures": "can read vocabularies from other files",
    "SequenceFeatures": "can read vocabularies from other files",
}
"""Classes of Keras 3 and tf_keras that do more than compute, and what they do."""

_KINDS = (
    "layers|models|engine|ops|optimizers|losses|metrics|initializers|regularizers|constraints|dtype_policies"
    "|mixed_precision|quantizers|random|applications"
)
_CLASS_MODULES = re.compile(
    rf"(tf_)?keras((\.src)?\.({_KINDS})(\.\w+)*|(\.src(\.layers\.preprocessing|\.utils)\.feature_space))?"
    r"|tensorflow\.python\.ops\.init_ops_v2"
)
_SPEC_MODULES = re.compile(r"tensorflow\.python\.(framework|ops\.ragged)(\.\w+)*")
_FUNCTION_MODULES = re.compile(
    r"builtins|(tf_)?keras\.(activations|constraints|initializers|losses|metrics|regularizers|ops(\.\w+)*)"
)
_NO_FUNCTIONS = ("get", "deserialize", "serialize")

_OP_LAYERS = ("TFOpLambda", "SlicingOpLambda")
_PURE_OPS = re.compile(
    r"(compat\.v1\.)?(math|nn|linalg|signal|image|strings|__operators__|ragged|sparse)\.\w+"
    r"|(compat\.v1\.)?random\.(normal|uniform|truncated_normal|shuffle|categorical|stateless_\w+)"
    r"|(compat\.v1\.)?(abs|acos|acosh|add|add_n|argmax|argmin|argsort|asin|asinh|atan|atan2|atanh|batch_to_space|bitcast"
    r"|boolean_mask|broadcast_to|cast|clip_by_global_norm|clip_by_norm|clip_by_value|complex|concat|constant"
    r"|convert_to_tensor|cos|cosh|cumsum|divide|einsum|ensure_shape|equal|exp|expand_dims|eye|fill|floor|gather"
    r"|gather_nd|greater|greater_equal|identity|less|less_equal|linspace|logical_and|logical_not|logical_or|matmul"
    r"|maximum|meshgrid|minimum|multiply|negative|norm|not_equal|one_hot|ones|ones_like|pad|pow|range|rank"
    r"|realdiv|reduce_\w+|repeat|reshape|reverse|reverse_sequence|roll|round|saturate_cast|scalar_mul|scatter_nd"
    r"|searchsorted|sequence_mask|shape|shape_n|sigmoid|sign|sin|sinh|size|slice|sort|space_to_batch|split|sqrt"
    r"|square|squeeze|stack|stop_gradient|strided_slice|subtract|tan|tanh|tensor_scatter_nd_\w+|tensordot|tile"
    r"|transpose|truediv|truncatediv|truncatemod|unique|unstack|where|zeros|zeros_like)"
)
"""Functions of TensorFlow that only compute, without reading or writing files."""

_FILE_KEYS = ("vocabulary", "initial_vocabulary", "vocabulary_file", "filepath", "file_path", "filename")


@contextlib.contextmanager
def name_for_keras(path: str) -> Iterator[str]:
    """Give a path of the file that ends in ``.keras``, in small letters.

    By any other ending, such as ``.KERAS``, tf_keras takes its loader for HDF5, which has no safe mode and would also read
    a zip that contains an HDF5 file.
    """
    if path.endswith(".keras"):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, "model.keras")
        os.symlink(os.path.abspath(path), link)
        yield link


def check(path: str, take_room: Callable[[int], None], is_registered: Callable[[str], bool]) -> None:
    """Check that the content of a file is a .keras file, and that loading it with Keras only builds a model.

    Args:
        path: the path of the file.
        take_room: called with the size of each member; raises an error if the total is too large.
        is_registered: returns whether the user's own code has registered a class or function of that name with Keras.

    Raises:
        LoadError: if the file is rejected.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "rb", opener=fs.open_regular_target))
        head = file.read(4)
        if head != _ZIP:
            kind = "an HDF5 file" if head == _HDF5 else "not a zip"
            text = f"{show(path)} is {kind}, but a .keras file is a zip that contains {_CONFIG}"
            raise LoadError(text, fix=_fix(path, " with its actual format" if head == _HDF5 else ""))
        try:
            zip_reader.check_member_count(file, settings.unpack_limits()[0])
        except ArchiveError as error:
            raise LoadError(f"{show(path)} is rejected: {error.text}", fix=error.advice) from error
        archive = stack.enter_context(zipfile.ZipFile(file))
        _check_members(path, archive, take_room)
        for name in (_CONFIG, _METADATA):
            config = parse_json(archive.read(name), max_bytes=_JSON_BYTES_MAX, max_values=_JSON_VALUES_MAX)
            for fault in find_faults(config, is_registered):
                raise LoadError(f"{show(path)} is rejected: its {show(name)} {fault}", fix=_fix(path))
        for info in archive.infolist():
            if info.filename.endswith((".h5", ".hdf5")):
                _check_hdf5(path, archive, info)


def find_faults(config: object, is_registered: Callable[[str], bool]) -> Iterator[str]:
    """Yield what may run code or read files in a config of Keras 3 or tf_keras; nothing for an ordinary model."""
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield from _find_object_faults(value, is_registered)
            yield from _find_value_faults(value)
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def _find_value_faults(value: dict[str, Any]) -> Iterator[str]:
    """Yield values that are harmful in any class."""
    for key, item in value.items():
        if key in _FILE_KEYS and isinstance(item, str):
            yield f"has a {key} that is read from another file: {_quote(item)}"
        if key.endswith("_type") and item == "lambda":
            yield f"has Python code that is run: {key} is 'lambda'"
        if key.endswith("_fn_module") and item is not None:
            yield f"has a {key}, whose names a wrapper would take over: {_quote(item)}"


def _find_object_faults(value: dict[str, Any], is_registered: Callable[[str], bool]) -> Iterator[str]:
    """Yield what is wrong with one serialized object; nothing for any other dict."""
    if "class_name" not in value:
        return
    name, module = value["class_name"], value.get("module", "")
    registered = value.get("registered_name", name)
    if not isinstance(name, str) or not isinstance(registered, (str, type(None))):
        yield f"has an object whose class is {_quote(name)}"
        return
    if name in _REJECTED:
        yield f"has a {name}, which {_REJECTED[name]}"
    if name in _DATA:
        return
    if name == "__typespec__":
        yield from _find_name_faults(value, value.get("spec_name"), registered, module, _SPEC_MODULES)
    elif name == "function":
        name = value.get("config")
        if not isinstance(name, str) or not is_registered(name):
            registered = name if registered == "function" else registered
            yield from _find_name_faults(value, name, registered, module, _FUNCTION_MODULES)
    elif registered is None or not is_registered(registered):
        yield from _find_name_faults(value, name, registered, module, _CLASS_MODULES)


def _find_name_faults(
    value: dict[str, Any], name: object, registered: str | None, module: object, modules: re.Pattern[str]
) -> Iterator[str]:
    """Yield what is wrong with the name and module of a class or function that the user has not registered."""
    origin = f"{_quote(name)} of the module {_quote(module)}"
    if not isinstance(name, str) or not name.isidentifier() or registered not in (None, name):
        yield f"names {_quote(registered or name)}, which is not part of Keras and is not registered with it"
    elif module == "keras.utils" and name == "FeatureSpace":
        return
    elif module == "" and modules is _CLASS_MODULES:  # older configs have no module: Keras searches its own classes
        yield from _find_op_faults(value)
    elif not isinstance(module, str) or not modules.fullmatch(module):
        yield f"names {origin}, which does not belong to the parts of Keras that only compute"
    elif modules is _FUNCTION_MODULES:
        if name in _NO_FUNCTIONS or (module == "builtins" and hasattr(builtins, name)):
            yield f"names the function {origin}, which does more than compute"
    elif not name[0].isupper():
        yield f"names {origin}, which is not a class"
    else:
        yield from _find_op_faults(value)


def _find_op_faults(value: dict[str, Any]) -> Iterator[str]:
    """Yield a fault if a layer of tf_keras calls a TensorFlow function that may do more than compute."""
    if value["class_name"] in _OP_LAYERS or value.get("registered_name") in _OP_LAYERS:
        config = value.get("config")
        function = config.get("function") if isinstance(config, dict) else None
        if not isinstance(function, str) or not _PURE_OPS.fullmatch(function):
            yield f"calls TensorFlow's function {_quote(function)}, which is not known to only compute"


def _check_members(path: str, archive: zipfile.ZipFile, take_room: Callable[[int], None]) -> None:
    names = archive.namelist()
    duplicates = {name for name, count in Counter(names).items() if count > 1}
    wrong = next((name for name in names if name in duplicates or not _is_inside(name)), None)
    if wrong is not None or not {_CONFIG, _METADATA} <= {*names}:
        text = f"has a member {_quote(wrong)}" if wrong else f"does not contain {_CONFIG} and {_METADATA}"
        raise LoadError(f"{show(path)} is not a .keras file: it {text}", fix=_fix(path))
    for info in archive.infolist():
        take_room(info.file_size)
        if info.filename in (_CONFIG, _METADATA) and info.file_size > _JSON_BYTES_MAX:
            raise LoadError(
                f"{show(path)} is rejected: its {show(info.filename)} is over {_JSON_BYTES_MAX} bytes", fix=_fix(path)
            )


def _is_inside(name: str) -> bool:
    """Return whether a member stays inside the directory that it is unpacked to."""
    with contextlib.suppress(ArchiveError):
        return bool(safe_parts(name, is_directory=name.endswith("/"))) and ":" not in name
    return False


def _check_hdf5(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Reject links to other files, which HDF5 would follow."""
    with tempfile.TemporaryFile() as file:
        with archive.open(info) as packed:
            shutil.copyfileobj(packed, file, 1 << 20)
        if name := _find_outside(file):
            text = f"{show(path)} is rejected: {_quote(name)} of its {show(info.filename)} is read from another file"
            raise LoadError(text, fix=_fix(path))


def _find_outside(file: IO[bytes]) -> str | None:
    """Return the name of a soft or external link, or of a dataset with external data, in an HDF5 file; None without one."""
    import h5py

    with h5py.File(file, "r") as weights:
        seen, pending = set(), [weights["/"]]
        while pending:
            group = pending.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    return f"{group.name}/{name}"
                item = group[name]
                if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                    return str(item.name)
                address = h5py.h5o.get_info(item.id).addr
                if isinstance(item, h5py.Group) and address not in seen:
                    seen.add(address)
                    pending.append(item)
    return None


def _quote(text: object) -> str:
    """Return text of a file for a message: short, and without control characters."""
    return quote_name(str(text)[:_SHOWN_CHARACTERS])


def _fix(path: str, how: str = "") -> Advice:
    custom = "Custom classes must be registered with Keras first."
    return Advice(
        python=f"If you trust its author, load it yourself{how}: tf.keras.models.load_model({path!r}), with safe_mode=False"
        f" if it has a Lambda layer. {custom}",
        command=f"If you trust its author, load it with Keras in Python{how}. {custom}",
    )
