"""Targets: graphs of SavedModels as ``inspect`` reads them, indexes of weights, and small files beside them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from tests.fakes.checkpoints import encode_message, make_entry, make_index
from tests.fakes.graphs import (
    make_function,
    make_graph,
    make_meta_graph,
    make_node,
    make_object,
    make_saved_model,
    make_signature,
    make_tensor_info,
    make_texts,
    make_variable,
)
from tests.fuzz.target import Target, ViolationError
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.inspection import summary
from tfimm_resolver.inspection.html_view import format_html
from tfimm_resolver.inspection.reading import inspect_directory
from tfimm_resolver.saved_model.content import find_missing_content
from tfimm_resolver.saved_model.fingerprint import read_fingerprint
from tfimm_resolver.saved_model.graph import iterate_graphs, read_graphs
from tfimm_resolver.saved_model.keras_metadata import read_keras_metadata
from tfimm_resolver.saved_model.messages import open_source
from tfimm_resolver.saved_model.wire import WireError

_TOKENS = (b"\x08", b"\x0a", b"\x12", b"\x1a", b"\x22", b"\x2a", b"\x32", b"\x3a", b"\x42", b"\xff" * 9 + b"\1", b"\x0b")


def _make_graphs() -> list[bytes]:
    inner = make_graph([make_node("w", "WriteFile")])
    attributes = {
        "value": make_texts(inner, b"text"),
        "f": encode_message([(10, encode_message([(1, b"f")]))]),
        "list": encode_message([(1, encode_message([(9, encode_message([(1, b"g")])), (2, b"s")]))]),
        "packed": encode_message([(8, encode_message([(1, 7), (2, encode_message([(2, b"\x08\x02")])), (4, b"\1\2abb")]))]),
        "T": encode_message([(6, 1)]),
    }
    function = make_function("f", [make_node("y", "AddV2", ["x", "x"])], ["x"], {"out": "y:z:0"})
    graph = make_graph([make_node("c", "Const", ["a:0", "^b"], attributes), make_node("d", "CaseFoldUTF8")], [function])
    signature = make_signature({"x": make_tensor_info(1, (-1, 3))}, {"y": make_tensor_info(7, None)})
    objects = [make_object({"v": 1, "_layers": 0}), make_variable((2, 3)), make_object(identifier="_tf_keras_layer")]
    rich = make_meta_graph(graph, signatures={"serving_default": signature}, assets=["v.txt"], objects=objects)
    return [make_saved_model(rich), make_saved_model(make_meta_graph(graph), make_meta_graph(tags=["train"]))]


def _inspect(data: bytes, into: Path) -> None:
    """Inspect a model with this graph: every view of it has to stay in bounds."""
    (into / "saved_model.pb").write_bytes(data)
    model = inspect_directory(str(into), "m")
    size = len(json.dumps(model.facts())) + len(repr(model))
    for label, text in summary.list_rows(model):
        size += len(label) + len(text)
    page = format_html(model)
    if size > 1000 * (len(data) + 100) or len(page) > 2000 * (len(data) + 100):
        raise ViolationError(f"{size} and {len(page)} characters came out of {len(data)} bytes")
    if "<script" in page.lower() or not page.replace("\n", "").isprintable():
        raise ViolationError("a text of the model became HTML, or is not printable")


def _read_nodes(data: bytes, into: Path) -> None:
    """Read every part of every node, and the graphs in constants."""
    (into / "saved_model.pb").write_bytes(data)
    with open_source(str(into / "saved_model.pb")) as source:
        for graph in iterate_graphs(source):
            graph.list_arguments()
            graph.map_returns()
            for node in graph.iterate_nodes():
                _ = node.name, node.op, node.inputs
                for value in node.attributes.values():
                    _ = value.text, value.number, [*value.iterate_functions()]
                    for span in value.iterate_texts():
                        with contextlib.suppress(WireError):  # a text that is not a graph
                            _ = [
                                (each.op, each.name)
                                for inner in read_graphs(source, (span,))
                                for each in inner.iterate_nodes()
                            ]


def _find_missing(data: bytes, into: Path) -> None:
    (into / "saved_model.pb").write_bytes(make_saved_model(make_meta_graph()))
    (into / "variables").mkdir()
    (into / "variables/variables.index").write_bytes(data)
    (into / "variables/variables.data-00000-of-00001").write_bytes(bytes(24))
    for is_strict in (False, True):
        found = find_missing_content(str(into), is_strict=is_strict)
        if len(found) > 100 or sum(map(len, found)) > 100_000:
            raise ViolationError(f"{len(found)} defects")


def _read_small_files(data: bytes, into: Path) -> None:
    for name in ("fingerprint.pb", "keras_metadata.pb"):
        (into / name).write_bytes(data)
    read_fingerprint(str(into))
    if sum(map(len, read_keras_metadata(str(into)))) > 200:
        raise ViolationError("long names")


def _make_indexes() -> list[bytes]:
    entries = {b"a": make_entry(1, [2, 3], bytes(24)), b"b": make_entry(9, [], bytes(8), offset=16)}
    return [make_index(entries), make_index({})]


def _make_small_files() -> list[bytes]:
    metadata = json.dumps({"class_name": "Sequential", "keras_version": "2.15.0"}).encode()
    return [
        encode_message([(1, 2**64 - 1), (5, 3), (7, b"1234")]),
        encode_message([(1, encode_message([(2, 0), (3, b"root"), (5, metadata)]))]),
    ]


TARGETS = (
    Target("inspect", _inspect, _make_graphs, (*_TOKENS, b"<script>", b"\x1b[2J", b"__saved_model_"), (ResolverError,)),
    Target("nodes", _read_nodes, _make_graphs, _TOKENS, (WireError,)),
    Target("missing", _find_missing, _make_indexes, (b"\x08", b"\xff" * 9 + b"\1", bytes(4) + b"\1\0\0\0"), (ResolverError,)),
    Target("small files", _read_small_files, _make_small_files, (*_TOKENS, b'"class_name"', b"{", b"["), (ResolverError,)),
)
