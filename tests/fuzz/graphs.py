"""Targets: the search of a SavedModel, and of Keras's metadata, for operations."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.checkpoints import encode_message
from tests.fakes.graphs import make_graph, make_node, make_texts
from tests.fakes.operations import (
    Model,
    make_call_attribute,
    make_child,
    make_function_object,
    make_harmless_model,
    make_loading_model,
    make_text,
    make_typed_function,
    make_writer,
)
from tests.fuzz.target import Target, ViolationError
from tfimm_resolver.saved_model.operation_rules import KINDS
from tfimm_resolver.saved_model.operations import find_operations
from tfimm_resolver.saved_model.wire import WireError


def _make_models() -> list[bytes]:
    call = make_node("call", "PartitionedCall", ["p"], {"f": make_call_attribute("g")})
    functions = [
        make_typed_function("f", [make_text("p", "/x"), call], ("a",), {"y": "call:output:0"}),
        make_typed_function("g", [make_text("contents", "x"), make_writer(path="q")], ("q",), {"z": "q"}),
    ]
    objects = [
        encode_message([make_child("_initialize", 1), (11, encode_message([(1, b"k"), (2, encode_message([(3, 1)]))]))]),
        make_function_object("f"),
        encode_message([(9, encode_message([(1, b"path")]))]),
    ]
    inner = make_graph([make_text("path", "/inner"), make_text("contents", "x"), make_writer()], functions)
    nested = [make_node("g", "Const", attributes={"value": make_texts(inner)}), make_node("run", "DatasetFromGraph", ["g"])]
    return [
        make_loading_model().encode(),
        make_harmless_model().encode(),
        Model(
            [make_text("path", "/p")], functions, objects, {"f": [2], "g": [2]}, inputs=["a:0"], outputs=["path:0"]
        ).encode(),
        Model(nested, outputs=["run:0"]).encode(),
    ]


def _search(data: bytes, into: Path) -> None:
    (into / "saved_model.pb").write_bytes(data)
    for one in find_operations(str(into)):
        if one.kind not in KINDS or one.when not in ("on load", "on call", "unknown"):
            raise ViolationError(f"{one}")
        if len(one.path or "") > 500:
            raise ViolationError("a path that is not cut")


def _make_metadata() -> list[bytes]:
    layers = (
        {"class_name": "Lambda", "config": {"name": "x"}},
        {"class_name": "TFOpLambda", "config": {"function": "io.read_file"}},
    )
    return [encode_message([(1, encode_message([(5, json.dumps({"config": layer}).encode())]))]) for layer in layers]


def _search_metadata(data: bytes, into: Path) -> None:
    make_harmless_model().write(into)
    (into / "keras_metadata.pb").write_bytes(data)
    find_operations(str(into))


_TOKENS = (b"WriteFile", b"DatasetFromGraph", b"StringJoin", b"\x0a\x01f", b"^", b":0", b"\x22\x01", b"Lambda")

TARGETS = (
    Target("operations", _search, _make_models, _TOKENS, (WireError,)),
    Target("keras metadata", _search_metadata, _make_metadata, (b"Lambda", b"TFOpLambda", b"\\u0041"), (WireError,)),
)
