"""Tests of .keras files of Keras 3 and tf_keras: ordinary models load; no code in a file runs, and no other file is read."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.fakes.fork_server import ForkServer
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tfimm_resolver.errors import LoadError
from tfimm_resolver.hub import keras_files

Config = dict[str, Any]


def make_layer(name: str, module: str | None = "keras.layers", registered: Any = None, /, **config: Any) -> Config:
    """Return a serialized class, as Keras writes it."""
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


def make_function(name: Any, module: str, registered: str | None = "function") -> Config:
    """Return a serialized function, as Keras writes it."""
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered}


def make_dense_with(by: Any) -> Config:
    """Return a layer with that activation."""
    return make_layer("Dense", units=1, activation=by)


def make_op(name: Any, kind: str = "TFOpLambda") -> Config:
    """Return a serialized call of a TensorFlow function, as tf_keras writes it."""
    return make_layer(kind, "tf_keras.src.layers.core.tf_op_layer", kind, function=name)


HARMFUL = {
    "a Lambda": make_layer("Lambda", function={"class_name": "__lambda__", "config": {"value": "AA=="}}),
    "a Lambda, as older files name it": {"class_name": "Lambda", "config": {"function": ["AA==", None, None]}},
    "a Lambda by its registered name": make_layer("Other", "keras.src.layers.core.lambda_layer", "Lambda"),
    "a Lambda in a package": make_layer("Lambda", None, "Custom>Lambda"),
    "a lambda": make_dense_with({"class_name": "__lambda__", "config": {"value": "AA=="}}),
    "a SavedModel": make_layer("TFSMLayer", filepath="/tmp/sm", call_endpoint="serve"),
    "a module of PyTorch": make_layer("TorchModuleWrapper", module="AA=="),
    "a function of JAX": make_layer("JaxLayer", call_fn=None),
    "a vocabulary": make_layer("StringLookup", vocabulary="/etc/passwd"),
    "a relative vocabulary": make_layer("TextVectorization", vocabulary="secrets.txt"),
    "a vocabulary of integers": make_layer("IntegerLookup", vocabulary="gs://bucket/v"),
    "an older vocabulary": {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
    "the vocabulary of a column": make_layer("Add", columns=[{"config": {"vocabulary_file": "/etc/passwd"}}]),
    "feature columns": make_layer("DenseFeatures", feature_columns=[]),
    "a process": make_layer("Popen", "subprocess", args=["true"]),
    "a process, without a registered name": {"module": "subprocess", "class_name": "Popen", "config": {"args": ["true"]}},
    "a class of another package": make_layer("Thing", "some_package.layers", "Thing"),
    "a module that begins like Keras": make_layer("Dense", "keras_evil"),
    "a module that ends like Keras": make_layer("Dense", "evil.keras.layers"),
    "a module with a line break": make_layer("Dense", "keras.layers\n"),
    "a class of no module": make_layer("Thing", None, "Custom>Thing"),
    "a dotted class": make_layer("utils.get_file", "keras"),
    "a nested class": make_layer("Model.Inner", "keras.models"),
    "a function as a class": make_layer("load_model", "keras.models"),
    "a tool as a class": make_layer("OrderedEnqueuer", "keras.utils"),
    "a callback": make_layer("BackupAndRestore", "keras.callbacks", backup_dir="/tmp"),
    "a number as a class": {"class_name": 3, "config": {}},
    "a list as a class": {"class_name": ["Lambda"], "config": {}},
    "a list as a registered name": make_layer("Dense", "keras.layers", ["Lambda"]),
    "a download": make_dense_with(make_function("get_file", "keras.utils")),
    "unsafe mode": make_layer("enable_unsafe_deserialization", "keras.config"),
    "unsafe mode, as a function": make_function("enable_unsafe_deserialization", "keras.config"),
    "a model's loader": make_dense_with(make_function("load_model", "keras.saving")),
    "a function of Python": make_dense_with(make_function("eval", "builtins")),
    "another one": make_dense_with(make_function("open", "builtins")),
    "a function of a module": make_dense_with(make_function("system", "os")),
    "a dotted function": make_dense_with(make_function("a.b", "keras.activations")),
    "a function by its registered name": make_dense_with(make_function("nothing", "keras.activations", "get_file")),
    "a function without a name": make_dense_with(make_function({"class_name": "x"}, "keras.activations")),
    "a function that makes objects": make_dense_with(make_function("deserialize", "keras.activations")),
    "a function that reads a file": make_op("io.read_file"),
    "a function that removes a directory": make_op("io.gfile.rmtree", "SlicingOpLambda"),
    "a function that runs Python": make_op("py_function"),
    "a function that loads": make_op("saved_model.load"),
    "a function behind a good name": make_op("math.abs.io.write_file"),
    "a function of none": make_op(None),
    "a function, as older files name it": {"class_name": "TFOpLambda", "config": {"function": "io.read_file"}},
    "an operation": make_layer("TensorFlowOpLayer", node_def={"op": "ReadFile"}),
    "a class method": make_layer("ClassMethod", "tf_keras.src.layers.core.tf_op_layer", "ClassMethod", cls_symbol="io.gfile"),
    "code of a wrapper": make_layer("ResidualWrapper", residual_fn_type="lambda", residual_fn=["AA=="]),
    "names of a wrapper": make_layer("ResidualWrapper", residual_fn_type="function", residual_fn_module="os"),
    "a spec of any module": {
        "class_name": "__typespec__", "spec_name": "Popen", "module": "subprocess", "registered_name": None, "config": [],
    },
}  # fmt: skip

WRAPS: dict[str, Callable[[Config], Any]] = {
    "alone": lambda harm: harm,
    "as a layer": lambda harm: make_layer("Sequential", "keras", layers=[make_layer("InputLayer"), harm]),
    "in a model of a model": lambda harm: make_layer(
        "Functional", "keras.src.models.functional", "Functional", layers=[make_layer("Sequential", "keras", layers=[harm])]
    ),
    "in wrappers": lambda harm: make_layer("Bidirectional", layer=make_layer("TimeDistributed", layer=harm)),
    "as a loss": lambda harm: {**make_layer("Sequential", "keras", layers=[]), "compile_config": {"loss": {"a": [harm]}}},
    "in how it is built": lambda harm: {**make_layer("Dense"), "build_config": {"input_shape": [harm]}},
    "among the inputs of a call": lambda harm: {
        **make_layer("Add"),
        "inbound_nodes": [{"args": [[harm]], "kwargs": {"y": harm}}],
    },
    "in a function's place": lambda harm: make_layer("MeanMetricWrapper", "keras.metrics", fn=harm),
    "very deep": lambda harm: json.loads('{"a":[' * 400 + json.dumps(harm) + "]}" * 400),
}

HARMLESS = {
    "a dense layer": make_dense_with("relu"),
    "an older dense layer": {"class_name": "Dense", "config": {"units": 1}},
    "a list of words": make_layer("StringLookup", vocabulary=["/etc/passwd"]),
    "no vocabulary": make_layer("TextVectorization", vocabulary=None),
    "an optimizer": make_layer(
        "Adam", "keras.optimizers", learning_rate=make_layer("ExponentialDecay", "keras.optimizers.schedules")
    ),
    "a loss": make_function("mean_squared_error", "builtins"),
    "a metric": make_function("mean_absolute_error", "keras.metrics"),
    "an operation": make_layer("GetItem", "keras.src.ops.numpy", "GetItem"),
    "an operator": make_op("__operators__.add"),
    "a slice": make_op("__operators__.getitem", "SlicingOpLambda"),
    "an older shape": make_op("compat.v1.shape"),
    "a matrix": make_op("linalg.matmul"),
    "an initializer of TensorFlow": make_layer("Constant", "tensorflow.python.ops.init_ops_v2", "Constant", value=1),
    "a policy": make_layer("Policy", "keras.mixed_precision", name="mixed_float16"),
    "features": make_layer("FeatureSpace", "keras.utils"),
    "a feature": make_layer("Feature", "keras.src.layers.preprocessing.feature_space", "Feature"),
    "a tensor": {"class_name": "__tensor__", "config": {"value": [1.0], "dtype": "float32"}},
    "a spec": {
        "class_name": "__typespec__", "spec_name": "TensorSpec", "module": "tensorflow.python.framework.tensor",
        "registered_name": None, "config": [],
    },
    "one's own layer": make_layer("Mine", None, "mine>Mine"),
    "one's own function": make_function("mine>act", "builtins"),
}  # fmt: skip


def is_registered(name: str) -> bool:
    """Stand in for Keras, as if the user had registered a layer and a function."""
    return name in ("mine>Mine", "mine>act")


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("harm", HARMFUL.values(), ids=HARMFUL)
def test_finds_what_runs_code_or_reads_files(harm: Config, wrap: Callable[[Config], Any]) -> None:
    faults = [*keras_files.find_faults(wrap(harm), is_registered)]
    assert faults and all(len(fault) < 500 and fault.isprintable() for fault in faults)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("value", HARMLESS.values(), ids=HARMLESS)
def test_finds_nothing_wrong_with(value: Config, wrap: Callable[[Config], Any]) -> None:
    assert [*keras_files.find_faults(wrap(value), is_registered)] == []


def make_weights(change: Callable[[h5py.File], None] = lambda _: None) -> bytes:
    """Return an HDF5 file of weights."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["layers/dense/vars/0"] = np.ones((1, 1), np.float32)
        change(file)
    return out.getvalue()


def make_keras_file(members: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a .keras file with added or replaced members."""
    config = json.dumps(make_layer("Sequential", "keras", layers=[])).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        default = {"config.json": config, "metadata.json": b"{}", "model.weights.h5": make_weights()}
        for name, data in {**default, **(members or {})}.items():
            archive.writestr(name, data)
    return out.getvalue()


def check_file(data: bytes, folder: Path) -> None:
    """Check a file of these bytes."""
    (folder / "m.keras").write_bytes(data)
    keras_files.check(str(folder / "m.keras"), lambda _: None, is_registered)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_sound_file_passes(compression: int, tmp_path: Path) -> None:
    check_file(make_keras_file(compression=compression), tmp_path)


def add_external_dataset(file: h5py.File) -> None:
    """Add a dataset with data in another file."""
    file.create_dataset("layers/leak", (16,), np.uint8, external=[("/etc/passwd", 0, 16)])


def add_external_link(file: h5py.File) -> None:
    """Add a link to a group in another file."""
    file["layers/link"] = h5py.ExternalLink("/tmp/other.h5", "x")


def add_virtual_dataset(file: h5py.File) -> None:
    """Add a dataset that combines data of other files."""
    layout = h5py.VirtualLayout((3,), np.int64)
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (3,))
    file.create_virtual_dataset("leak", layout)


REJECTED = {
    "an HDF5 file": (make_weights(), "is an HDF5 file, but a"),
    "nothing": (b"", "is not a zip, but a"),
    "a page": (b"<html>Log in", "is not a zip, but a"),
    "a zip behind HDF5": (make_weights() + make_keras_file(), "is an HDF5 file, but a"),
    "a config of nothing": (make_keras_file({"config.json": b""}), None),
    "harm in the config": (make_keras_file({"config.json": json.dumps(HARMFUL["a Lambda"]).encode()}), "has a Lambda"),
    "harm in the metadata": (make_keras_file({"metadata.json": json.dumps(HARMFUL["a Lambda"]).encode()}), "has a Lambda"),
    "a member outside": (make_keras_file({"../x": b""}), "has a member '../x'"),
    "a member at the top": (make_keras_file({"/etc/x": b""}), "has a member '/etc/x'"),
    "an external dataset": (
        make_keras_file({"model.weights.h5": make_weights(add_external_dataset)}),
        "is read from another file",
    ),
    "an external link": (make_keras_file({"model.weights.h5": make_weights(add_external_link)}), "is read from another file"),
    "a virtual dataset": (
        make_keras_file({"model.weights.h5": make_weights(add_virtual_dataset)}),
        "is read from another file",
    ),
}


@pytest.mark.parametrize("name", REJECTED)
def test_a_file_is_refused_that_is(name: str, tmp_path: Path) -> None:
    data, words = REJECTED[name]
    if words is None:
        with pytest.raises((zipfile.BadZipFile, ValueError)):
            check_file(data, tmp_path)
        return
    with pytest.raises(LoadError) as caught:
        check_file(data, tmp_path)
    assert words in str(caught.value) and "m.keras" in str(caught.value) and "load it yourself" in caught.value.fix


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04", make_keras_file()[:-1], make_keras_file() + b"x"], ids=["a start", "cut", "longer"]
)
def test_a_damaged_file_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"m\.keras is rejected: the zip is damaged: it is cut short, or something follows"):
        check_file(data, tmp_path)


def test_a_file_without_metadata_or_with_a_member_twice_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(LoadError, match=r"does not contain config\.json and metadata\.json"):
        check_file(out.getvalue(), tmp_path)
    with zipfile.ZipFile(out, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
    with pytest.raises(LoadError, match=r"has a member 'config\.json'"):
        check_file(out.getvalue(), tmp_path)


MAKE = """
    import os, sys
    import numpy as np
    import tensorflow as tf
    K, L, folder = tf.keras, tf.keras.layers, sys.argv[1]
    is_legacy = K.__name__.startswith("tf_keras") or "tf_keras" in K.layers.Dense.__module__
    assert is_legacy == bool(os.environ.get("TF_USE_LEGACY_KERAS"))

    @K.utils.register_keras_serializable("mine")
    class Mine(L.Layer):
        def call(self, x):
            return x * 2

    @K.utils.register_keras_serializable("mine")
    class Whole(K.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.dense = L.Dense(2)

        def call(self, x):
            return self.dense(x)

    @K.utils.register_keras_serializable("mine")
    def act(x):
        return x

    def sequential():
        model = K.Sequential([K.Input((8,)), L.Dense(4, "relu", kernel_regularizer="l2"), L.Dropout(0.1), L.Dense(2)])
        model.compile(K.optimizers.Adam(K.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)), "mse", metrics=["mae"])
        model.fit(np.zeros((2, 8)), np.zeros((2, 2)), verbose=0)
        return model

    def functional():
        start = K.Input((4, 4))
        x = L.Bidirectional(L.LSTM(4, return_sequences=True))(start)
        x = L.TimeDistributed(L.Dense(4))(x)
        x = L.LayerNormalization()(L.MultiHeadAttention(2, 2)(x, x) + x)
        x = (tf.nn.relu(x) if is_legacy else K.ops.relu(x))[:, 0]
        inner = K.Sequential([K.Input((4,)), L.Dense(3)])
        model = K.Model(start, {"a": inner(x), "b": L.RNN(L.GRUCell(3))(L.Reshape((2, 2))(x))})
        model.compile("sgd", {"a": K.losses.MeanSquaredError(), "b": "mae"}, metrics={"a": [K.metrics.RootMeanSquaredError()]})
        return model

    def image():
        return K.applications.MobileNetV3Small(weights=None, input_shape=(32, 32, 3), classes=2)

    def numbers():
        normal = L.Normalization()
        normal.adapt(np.arange(8.0).reshape(4, 2))
        return K.Sequential([K.Input((2,)), normal, L.Discretization([0.1, 0.5])])

    def text():
        words = L.TextVectorization(max_tokens=20)
        words.adapt(tf.constant(["a b c", "b d"]))
        return K.Sequential([K.Input((1,), dtype="string"), words, L.Embedding(20, 3), L.GlobalAveragePooling1D()])

    def lookup():
        return K.Sequential([K.Input((1,), dtype="string"), L.StringLookup(vocabulary=["a", "b"])])

    def registered():
        model = K.Sequential([K.Input((3,)), Mine(), L.Dense(2, activation=act)])
        model.compile("sgd", act)
        return model

    def subclass():
        model = Whole()
        model(np.zeros((1, 3)))
        return model
"""
LOAD = """
    from tfimm_resolver.errors import LoadError
    from tfimm_resolver.hub import load_saved_model_from_url
    url = sys.argv[2]
    for make in (sequential, functional, image, numbers, text, lookup, registered, subclass):
        name = make.__name__
        model = make()
        model.save(f"{folder}/{name}.keras")
        loaded = load_saved_model_from_url(f"{url}/{name}.keras")
        assert type(loaded).__name__ == type(model).__name__
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), loaded.get_weights())), name
        assert bool(loaded.compiled if not is_legacy else loaded._is_compiled) == (name in COMPILED), name
    # What runs code or reads files, once with the safe mode taken away by the user's own code.
    mark = f"{folder}/ran"
    evil = K.Sequential([K.Input((3,)), L.Lambda(eval(f"lambda x: (open({mark!r}, 'w'), x)[1]"))])
    evil.save(f"{folder}/evil.keras")
    evil.save(f"{folder}/evil.h5")
    os.rename(f"{folder}/evil.h5", f"{folder}/hdf5.keras")
    os.unlink(mark)
    (K.__internal__ if is_legacy else K.config).enable_unsafe_deserialization()
    for name in ("evil", "hdf5"):
        try:
            load_saved_model_from_url(f"{url}/{name}.keras")
        except LoadError as caught:
            assert ("Lambda" if name == "evil" else "HDF5") in str(caught) and "load it yourself" in str(caught), caught
        else:
            raise AssertionError(name)
        assert not os.path.exists(mark), name
    print("done")
"""


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextlib.contextmanager
def serve_directory(folder: Path) -> Iterator[str]:
    """Serve the new directory ``served`` in ``folder``; yield its URL."""
    (folder / "served").mkdir()
    handler = functools.partial(_QuietHandler, directory=str(folder / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


NOT_READ = "tf_keras cannot read its own .keras files: zipfile of Python 3.13.0 seeks as TensorFlow's files do not support"


@pytest.mark.parametrize(
    "legacy", ["", pytest.param("1", marks=pytest.mark.xfail(sys.version_info >= (3, 13), reason=NOT_READ))]
)
def test_ordinary_models_of_both_kerases_load_and_code_does_not_run(legacy: str, tmp_path: Path, server: ForkServer) -> None:
    code = MAKE + '    COMPILED = ("sequential", "functional", "registered")\n' + LOAD
    with serve_directory(tmp_path) as url:
        if legacy:  # TensorFlow reads it when it is imported
            out = run(code, str(tmp_path / "served"), url, timeout_s=240, TF_USE_LEGACY_KERAS=legacy)
        else:
            out = server.run(code, str(tmp_path / "served"), url, timeout_s=240)
    assert out.splitlines()[-1] == "done"


def test_a_file_that_is_refused_names_the_way_out(origin: Origin) -> None:
    from tfimm_resolver.hub import load_saved_model_from_url

    with pytest.raises(LoadError, match="HDF5") as caught:
        load_saved_model_from_url(origin.put("/m.keras", make_weights()))
    assert "tf.keras.models.load_model" in caught.value.fix


BOTH = """
    import io, os, sys, zipfile
    import h5py, tensorflow as tf
    folder, url = sys.argv[1:]
    mark, K = f"{folder}/ran", tf.keras
    evil = K.Sequential([K.layers.InputLayer((1,)), K.layers.Lambda(eval(f"lambda x: (open({mark!r}, 'w'), x)[1]"))])
    evil.save(f"{folder}/evil.h5")
    # HDF5 may begin at byte 512, behind what looks like the first member of a zip.
    with h5py.File(f"{folder}/moved.h5", "w", userblock_size=512) as moved, h5py.File(f"{folder}/evil.h5") as file:
        for key in file:
            file.copy(key, moved)
        moved.attrs.update(file.attrs)
    hdf5 = open(f"{folder}/moved.h5", "rb").read()
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["x"] = [1.0]
    for name in ("m.KERAS", "m.\u212aeras"):
        with zipfile.ZipFile(f"{folder}/{name}", "w") as archive:
            pad = zipfile.ZipInfo("assets/pad")
            archive.writestr(pad, bytes(512 - 30 - len(pad.filename)) + hdf5[512:])
            config = '{"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": []}}'
            archive.writestr("config.json", config)
            archive.writestr("metadata.json", "{}")
            archive.writestr("model.weights.h5", weights.getvalue())
        assert zipfile.is_zipfile(f"{folder}/{name}") and h5py.is_hdf5(f"{folder}/{name}")
    os.path.exists(mark) and os.unlink(mark)
    from urllib.parse import quote
    from tfimm_resolver.errors import LoadError
    from tfimm_resolver.hub import load_saved_model_from_url
    for name in ("m.KERAS", "m.\u212aeras"):
        try:
            load_saved_model_from_url(f"{url}/{quote(name)}")(tf.zeros((1, 1)))
        except (LoadError, ValueError) as error:
            print(type(error).__name__)
        assert not os.path.exists(mark), name
    print("done")
"""


def test_a_file_that_is_a_zip_and_hdf5_is_read_only_as_the_zip_that_was_checked(origin: Origin, tmp_path: Path) -> None:
    """tf_keras picks its loader by the ending, and takes the one without a safe mode for any but ``.keras``."""
    with serve_directory(tmp_path) as url:
        assert run(BOTH, str(tmp_path / "served"), url, timeout_s=240, TF_USE_LEGACY_KERAS="1").splitlines()[-1] == "done"


def test_a_file_of_more_members_than_allowed_is_rejected_before_they_are_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_MEMBERS", "50")
    members = dict.fromkeys(("config.json", "metadata.json"), b"{}") | {f"{number}": b"" for number in range(50)}
    with pytest.raises(LoadError, match="is rejected: it has over 50 members"):
        check_file(make_keras_file(members), tmp_path)
