"""Targets: files of weights, configurations of Keras, checkpoints, and the graph's list of assets."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from tests.fakes.checkpoints import (
    encode_message,
    encode_varint,
    make_block,
    make_entry,
    make_header,
    make_index,
    make_table,
    mask_crc32c,
)
from tests.fakes.weights import ARRAYS
from tests.fuzz.target import Target, ViolationError
from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver.errors import WeightsError
from tfimm_resolver.hub import keras_files, weights
from tfimm_resolver.saved_model import checkpoint, recognition
from tfimm_resolver.saved_model.assets import list_asset_names
from tfimm_resolver.saved_model.wire import WireError, iterate_fields

_DATA = bytes(range(24))


def _make_safetensors() -> list[bytes]:
    headers: list[object] = [
        {
            "__metadata__": {"format": "np"},
            "b": {"dtype": "F32", "shape": [2], "data_offsets": [3, 11]},
            "a": {"dtype": "BOOL", "shape": [3], "data_offsets": [0, 3]},
        },
        {
            "x": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [0, 4]},
            "y": {"dtype": "I64", "shape": [], "data_offsets": [4, 12]},
        },
        {},
    ]
    texts = [json.dumps(header).encode() for header in headers]
    return [text + b"\0" + _DATA[:size] for text, size in zip(texts, (11, 12, 0), strict=True)]


def _read_safetensors(data: bytes, into: Path) -> None:
    """Read a file whose header ends at the first zero, so that its length is right, except for one in four."""
    text, _, numbers = data.partition(b"\0")
    length = len(text) if len(data) % 4 else len(data) * 97 % 100_003
    (into / "m.safetensors").write_bytes(length.to_bytes(8, "little") + text + numbers)
    for name, array in weights._read(str(into / "m.safetensors")).items():
        if array.nbytes > len(data) or not isinstance(name, str):
            raise ViolationError(f"{array.nbytes} bytes came out of {len(data)}")


def _make_npzs() -> list[bytes]:
    out = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, **{name.replace("/", "_"): array for name, array in ARRAYS.items()})
        out.append(file.getvalue())
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            "a.npy", b"\x93NUMPY\1\0v\0" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }".ljust(118) + bytes(8)
        )
        archive.writestr("b.txt", b"x")
    return [*out, file.getvalue()]


def _read_npz(data: bytes, into: Path) -> None:
    (into / "m.npz").write_bytes(data)
    weights._read(str(into / "m.npz"))


def _make_checkpoints() -> list[bytes]:
    extents = [encode_message([(1, encode_message([(1, start), (2, 1)]))]) for start in (0, 1)]
    sliced = make_entry(1, [2, 3], b"") + b"".join(encode_message([(7, extent)]) for extent in extents)
    entries = {
        b"a": make_entry(1, [2, 3], _DATA),
        b"half": make_entry(19, [2], _DATA[:4], offset=4),
        b"text": make_entry(7, [1], b"\1a"),
        b"sliced": sliced,
        checkpoint.encode_slice_key(b"sliced", ((0, 1), (0, -1))): make_entry(1, [1, 3], _DATA[:12]),
    }
    shared = [
        make_block([(0, b"", make_header()), (0, b"aa", make_entry(1, [6], _DATA)), (1, b"b", make_entry(3, [1], _DATA[:4]))])
    ]
    return [make_index(entries), make_table(shared), make_index({b"x" * 300: make_entry(1, [], _DATA[:4])})]


def correct_block_checksums(data: bytes) -> bytes:
    """Return a table with the right checksum behind each block that is found by its restart array."""
    out, at = bytearray(data), 0
    for end in range(9, len(data) - 4):
        if data[end - 9 : end - 1] == bytes(4) + b"\1\0\0\0" and data[end - 1] in (0, 1):
            out[end : end + 4] = mask_crc32c(bytes(out[at:end])).to_bytes(4, "little")
            at = end + 4
    return bytes(out)


def _read_checkpoint(data: bytes, into: Path) -> None:
    (into / "m.index").write_bytes(correct_block_checksums(data) if len(data) % 4 else data)
    (into / "m.data-00000-of-00001").write_bytes(_DATA)
    total = sum(array.nbytes for array in checkpoint.read_tensors(str(into / "m")).values())
    if total > len(_DATA) + checkpoint.SHARED_BYTES_MAX:
        raise ViolationError(f"{total} bytes came out of {len(_DATA)}")


_CONFIG = {
    "module": "keras",
    "class_name": "Sequential",
    "config": {
        "name": "s",
        "layers": [
            {
                "module": "keras.layers",
                "class_name": "Dense",
                "config": {"units": 2, "activation": "relu"},
                "registered_name": None,
            },
            {"class_name": "function", "module": "builtins", "config": "relu", "registered_name": "function"},
            {"class_name": "TFOpLambda", "config": {"function": "math.add"}},
            {"class_name": "__typespec__", "spec_name": "TensorSpec", "module": "tensorflow.python.framework.tensor"},
        ],
    },
}


def _check_keras(data: bytes, _: Path) -> None:
    try:
        config = parse_json(data)
    except ValueError:
        raise WeightsError("it is not JSON") from None
    for fault in keras_files.find_faults(config, lambda name: name == "Mine"):
        if not fault.isprintable() or len(fault) > 2000:
            raise ViolationError(f"a long fault, or one that would change a terminal: {fault[:200]!a}")
    if b'"__lambda__"' in data and isinstance(config, dict) and config.get("class_name") == "__lambda__":
        faults = [*keras_files.find_faults(config, lambda name: False)]
        if not faults:
            raise ViolationError("code of a file would run")


def _make_graphs() -> list[bytes]:
    asset = encode_message([(1, encode_message([(1, b"asset:0")])), (2, b"vocab.txt")])
    graph = encode_message([(1, encode_message([(4, b"serve")])), (2, bytes(40)), (6, asset), (6, asset)])
    fixed = encode_varint(9 << 3 | 1) + bytes(8) + encode_varint(9 << 3 | 5) + bytes(4)
    return [
        encode_message([(1, 1), (2, graph)]),
        encode_message([(1, 1), (2, graph + fixed), (2, graph)]),
        encode_message([(2, b"")]),
    ]


def _read_graph(data: bytes, into: Path) -> None:
    """List the assets of a graph, recognize a file of another format, and read all fields."""
    (into / "saved_model.pb").write_bytes(data)
    names = list_asset_names(str(into))
    if sum(map(len, names or ())) > len(data):
        raise ViolationError("more names than bytes")
    for name in ("saved_model.pb", "x.onnx", "model"):
        recognition.recognize(data, name)
    for _ in iterate_fields(data):
        pass


TARGETS = (
    Target(
        "safetensors",
        _read_safetensors,
        _make_safetensors,
        (b'"dtype": ', b'"shape": [', b'"data_offsets": [', b'"F64"', b"true", b"["),
    ),
    Target("npz", _read_npz, _make_npzs, (b"PK\3\4", b"PK\1\2", b"\x93NUMPY", b"'descr'", b"'|O'", b"(1,)", b"'<f8'")),
    Target(
        "checkpoint",
        _read_checkpoint,
        _make_checkpoints,
        (b"\x08", b"\x12", b"\xff" * 9 + b"\1", bytes(4) + b"\1\0\0\0"),
        (WeightsError, OSError),
    ),
    Target(
        "keras",
        _check_keras,
        lambda: [json.dumps(_CONFIG).encode()],
        (
            b'"__lambda__"',
            b'"Lambda"',
            b'"class_name": ',
            b'"module": ',
            b'"config": ',
            b'"registered_name": ',
            b"{",
            b"null",
            b'"vocabulary": "x"',
        ),
    ),
    Target("graphs", _read_graph, _make_graphs, (b"\x12", b"\x32", b"\xff" * 9 + b"\1", b"\x80", b"\x0a"), (WireError,)),
)
