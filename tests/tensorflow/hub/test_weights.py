"""Tests of weights in each format: they are read as arrays by name, and a file cannot do any harm."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from tests.fakes.archives import tar_gz, zip_of
from tests.fakes.fork_server import ForkServer
from tests.fakes.origin import Origin
from tests.fakes.weights import ARRAYS, make_h5
from tfimm_resolver.errors import LoadError, WeightsError
from tfimm_resolver.hub import load_saved_model_from_url, load_state_dict_from_url


def make_npz(**more: Any) -> bytes:
    """Return an .npz file of the arrays."""
    out = io.BytesIO()
    np.savez(out, **{**ARRAYS, **more})
    return out.getvalue()


def make_safetensors(header: object = None, data: bytes = b"", *, length: int | None = None) -> bytes:
    """Return a .safetensors file with that header and data."""
    text = json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def make_header(**dtypes: tuple[str, list[int], int]) -> dict[str, Any]:
    """Return the header of consecutive arrays, each given by type, shape and size in bytes."""
    header, offset = {}, 0
    for name, (dtype, shape, size_bytes) in dtypes.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size_bytes]}
        offset += size_bytes
    return header


def is_same(loaded: dict[str, Any], expected: dict[str, Any] = ARRAYS) -> bool:
    """Return whether names, types, shapes and values are equal."""
    return {*loaded} == {*expected} and all(
        loaded[name].dtype == np.asarray(array).dtype and np.array_equal(loaded[name], array)
        for name, array in expected.items()
    )


def get_error(origin: Origin, path: str, body: bytes) -> str:
    """Return the message of the error that the file causes."""
    with pytest.raises(WeightsError) as caught:
        load_state_dict_from_url(origin.put(path, body))
    assert isinstance(caught.value, (ValueError, LoadError)) and caught.value.exit_code == 5
    return str(caught.value)


@pytest.mark.parametrize(("path", "body"), [("/m.weights.h5", make_h5()), ("/M.H5", make_h5()), ("/m.npz", make_npz())])
def test_reads_names_types_shapes_and_values(path: str, body: bytes, origin: Origin) -> None:
    assert is_same(load_state_dict_from_url(origin.put(path, body), map_location="cpu", weights_only=True))


@pytest.mark.parametrize("name", ["m.h5", "m.npz"])
@pytest.mark.parametrize("wrap", [zip_of, tar_gz], ids=["zip", "tar.gz"])
def test_reads_the_one_file_in_an_archive(name: str, wrap: Callable[[dict[str, bytes]], bytes], origin: Origin) -> None:
    body = wrap({f"inside/{name}": make_h5() if name == "m.h5" else make_npz(), "README": b"hello"})
    assert is_same(load_state_dict_from_url(origin.put("/w.zip" if wrap is zip_of else "/w.tar.gz", body)))


def test_an_archive_of_several_or_no_weights_is_an_error(origin: Origin) -> None:
    assert "contains a.h5, b.npz" in get_error(origin, "/two.zip", zip_of({"a.h5": make_h5(), "b.npz": make_npz()}))
    assert "contains none" in get_error(origin, "/none.zip", zip_of({"README": b""}))


def test_bfloat16_is_what_keras_notes_it_to_be(origin: Origin) -> None:
    values = np.array([1.5, -2.0], ml_dtypes.bfloat16)

    def change(file: h5py.File) -> None:
        dataset = file.create_dataset("b", data=values)
        dataset.attrs["dtype"] = "bfloat16"

    loaded = load_state_dict_from_url(origin.put("/m.h5", make_h5(change)))
    assert is_same(loaded, {**ARRAYS, "b": values})


def test_what_is_no_number_in_an_h5_file_is_left_out(origin: Origin) -> None:
    def change(file: h5py.File) -> None:
        file["text"] = "hello"
        file["void"] = np.void(pickle.dumps(print))
        file.attrs["config"] = "{}"

    assert is_same(load_state_dict_from_url(origin.put("/m.h5", make_h5(change))))


def test_an_h5_file_that_names_other_files_is_not_followed(origin: Origin, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"0123456789abcdef")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.arange(3)

    def link(file: h5py.File) -> None:
        file["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
        file["soft"] = h5py.SoftLink("/scalar")

    assert is_same(load_state_dict_from_url(origin.put("/link.h5", make_h5(link)))), "nor is a soft link"

    def external(file: h5py.File) -> None:
        file.create_dataset("leak", (16,), np.uint8, external=[(str(secret), 0, 16)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((3,), np.int64)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (3,))
        file.create_virtual_dataset("leak", layout)

    assert "leak refers to other files" in get_error(origin, "/external.h5", make_h5(external))
    assert "leak refers to other files" in get_error(origin, "/virtual.h5", make_h5(virtual))


def test_a_pickle_inside_an_npz_is_not_read(origin: Origin, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    assert "evil holds Python objects" in get_error(origin, "/w.npz", make_npz(evil=np.array([Evil()], dtype=object)))
    assert not (tmp_path / "ran").exists()


def test_what_unpacks_to_absurdly_much_is_refused(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfimm_resolver.archives.budget.RATIO_CHECK_MIN_BYTES", 1 << 20)
    zeros = np.zeros(1 << 25, np.uint8)
    out = io.BytesIO()
    np.savez_compressed(out, zeros=zeros)
    assert "unpacks to over" in get_error(origin, "/w.npz", out.getvalue())

    def change(file: h5py.File) -> None:
        file.create_dataset("zeros", data=zeros, compression="gzip")

    assert "unpacks to over" in get_error(origin, "/w.h5", make_h5(change))


@pytest.mark.parametrize("path", ["/w.h5", "/w.npz", "/w.safetensors"])
@pytest.mark.parametrize("body", [b"", b"no weights", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\xff" * 100])
def test_an_error_names_a_file_of_another_format(path: str, body: bytes, origin: Origin) -> None:
    assert path[1:] in get_error(origin, path, body)


def test_reads_every_type_of_safetensors(origin: Origin) -> None:
    bf16 = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    f8 = np.array([1, 2], ml_dtypes.float8_e4m3fn)
    arrays: dict[str, Any] = {
        "f64": np.array([[0.5]]),
        "f32": ARRAYS["layers/dense/vars/0"],
        "i64": np.array([-1, 2]),
        "u8": np.zeros((0, 3), np.uint8),
        "flag": np.array([True]),
        "c64": np.array([1j], np.complex64),
        "scalar": np.array(3, np.int16),
        "bf16": bf16,
        "f8": f8,
    }
    words = {"f64": "F64", "f32": "F32", "i64": "I64", "u8": "U8", "flag": "BOOL", "c64": "C64", "scalar": "I16"}
    kinds = {**words, "bf16": "BF16", "f8": "F8_E4M3"}
    header = make_header(**{name: (kinds[name], [*array.shape], array.nbytes) for name, array in arrays.items()})
    body = make_safetensors(
        {**header, "__metadata__": {"format": "tf"}}, b"".join(array.tobytes() for array in arrays.values())
    )
    loaded = load_state_dict_from_url(origin.put("/m.safetensors", body))
    assert is_same(loaded, arrays) and loaded["f32"].flags.writeable


DAMAGED = {
    "another length": make_safetensors(make_header(a=("U8", [3], 3)), b"abc", length=10**9),
    "a negative shape": make_safetensors(make_header(a=("U8", [-1], 3)), b"abc"),
    "absurdly much data": make_safetensors(make_header(a=("U8", [10**15], 10**15)), b"abc"),
    "too short data": make_safetensors(make_header(a=("U8", [4], 4)), b"abc"),
    "a shape that does not fit": make_safetensors(make_header(a=("U8", [2], 3)), b"abc"),
    "a hole": make_safetensors({"a": {"dtype": "U8", "shape": [1], "data_offsets": [2, 3]}}, b"abc"),
    "an overlap": make_safetensors(
        {**make_header(a=("U8", [3], 3)), "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}}, b"abc"
    ),
    "a start before its file": make_safetensors({"a": {"dtype": "U8", "shape": [3], "data_offsets": [-3, 0]}}, b"abc"),
    "an unknown type": make_safetensors(make_header(a=("PICKLE", [3], 3)), b"abc"),
    "no facts": make_safetensors({"a": 3}, b"abc"),
    "a list": make_safetensors([1, 2]),
    "nothing": make_safetensors(None),
}


@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED)
def test_refuses_safetensors_with(body: bytes, origin: Origin) -> None:
    assert "m.safetensors" in get_error(origin, "/m.safetensors", body)


def test_a_model_is_an_archive_or_a_keras_file(origin: Origin) -> None:
    with pytest.raises(ValueError, match="is not in a supported format of models"):
        load_saved_model_from_url(origin.put("/m.h5", make_h5()))
    assert origin.requests == []


TENSORFLOW = """
    import sys
    from importlib.metadata import version
    import numpy as np
    import tensorflow as tf
    import os, shutil, zipfile
    from tfimm_resolver.hub import load_saved_model_from_url, load_state_dict_from_url
    from tfimm_resolver.errors import ArchiveError, LoadError, NotASavedModelError, WeightsError
    url, folder = sys.argv[1:]
    os.makedirs(folder + "/made")
    model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2, name="dense")])
    model.compile("sgd", "mse")
    kernel, bias = model.get_weights()

    def get_url(name):
        return f"{url}/{name}"

    # .weights.h5, as Keras writes it
    model.save_weights(folder + "/m.weights.h5")
    arrays = load_state_dict_from_url(get_url("m.weights.h5"))
    assert np.array_equal(arrays["layers/dense/vars/0"], kernel), [*arrays]

    # a checkpoint, in an archive
    tf.train.Checkpoint(model=model, step=tf.Variable(3)).write(folder + "/made/ckpt")
    shutil.make_archive(folder + "/ckpt", "gztar", folder + "/made")
    arrays = load_state_dict_from_url(get_url("ckpt.tar.gz"))
    assert arrays["step/.ATTRIBUTES/VARIABLE_VALUE"] == 3
    assert any(np.array_equal(array, kernel) for array in arrays.values()) and "_CHECKPOINTABLE_OBJECT_GRAPH" not in arrays

    # a SavedModel, and the weights of one
    model.export(folder + "/saved", **{"verbose": False} if version("keras") >= "3" else {})
    shutil.make_archive(folder + "/saved", "zip", folder + "/saved")
    x = np.ones((1, 3), np.float32)
    loaded = load_saved_model_from_url(get_url("saved.zip"))
    assert np.allclose(loaded.serve(x), x @ kernel + bias)
    assert any(np.array_equal(array, kernel) for array in load_state_dict_from_url(get_url("saved.zip")).values())

    # a .keras file; one with code in it is not run
    model.save(folder + "/m.keras")
    assert np.allclose(load_saved_model_from_url(get_url("m.keras")).predict(x, verbose=0), x @ kernel + bias)
    evil = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Lambda(lambda x: x)])
    evil.save(folder + "/evil.keras")
    for name, error in (("evil.keras", LoadError), ("ckpt.tar.gz", NotASavedModelError)):
        try:
            load_saved_model_from_url(get_url(name))
        except error as caught:
            assert name == "ckpt.tar.gz" or "Lambda" in str(caught), caught
        else:
            raise AssertionError(name)
    with open(folder + "/made/ckpt.data-00000-of-00001", "wb") as file:
        file.write(b"rubbish")
    shutil.make_archive(folder + "/bad", "gztar", folder + "/made")
    try:
        load_state_dict_from_url(get_url("bad.tar.gz"))
    except WeightsError as caught:
        print("read" in str(caught))
"""


def test_reads_what_tensorflow_and_keras_write(tmp_path: Path, server: ForkServer) -> None:
    import functools
    import threading
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    (tmp_path / "served").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as origin:
        threading.Thread(target=origin.serve_forever, daemon=True).start()
        out = server.run(TENSORFLOW, f"http://127.0.0.1:{origin.server_port}", str(tmp_path / "served"), timeout_s=240)
        origin.shutdown()
    assert out.splitlines()[-1] == "True"
