"""Tests of ``saved_model.meta_graphs``; tests/tensorflow/inspection compares it with TensorFlow."""

from __future__ import annotations

import pytest

from tests.fakes.checkpoints import encode_message
from tests.fakes.graphs import (
    INT32,
    STRING,
    make_function,
    make_graph,
    make_meta_graph,
    make_node,
    make_saved_model,
    make_signature,
    make_tensor_info,
)
from tfimm_resolver.saved_model import meta_graphs
from tfimm_resolver.saved_model.messages import MessageSource
from tfimm_resolver.saved_model.meta_graphs import MetaGraph, Signature, SignatureTensor, read_meta_graphs
from tfimm_resolver.saved_model.wire import WireError


def read(*graphs: bytes) -> list[MetaGraph]:
    """Return the MetaGraphs of a SavedModel in memory."""
    return read_meta_graphs(MessageSource(None, make_saved_model(*graphs)))


def test_a_graph_is_described() -> None:
    signature = make_signature({"b": make_tensor_info(STRING, (-1, 2)), "a": make_tensor_info(INT32, None)}, {})
    graph = make_graph(
        [make_node("x", "Const"), make_node("y", "f")],
        [make_function("f", [make_node("z", "Const"), make_node("w", "MatMul")])],
    )
    (found,) = read(make_meta_graph(graph, tags=["serve", "gpu"], signatures={"predict": signature}, assets=["v.txt"]))
    assert (found.tags, found.tensorflow_version, found.assets) == (("gpu", "serve"), "2.21.0", ("v.txt",))
    assert (found.nodes, found.functions, found.ops) == (4, 1, {"Const": 2, "MatMul": 1})
    inputs = (SignatureTensor("a", "int32", None), SignatureTensor("b", "string", (None, 2)))
    assert found.signatures == (Signature("predict", "tensorflow/serving/predict", inputs, ()),)
    assert found.objects is None


def test_each_graph_is_described() -> None:
    assert [graph.tags for graph in read(make_meta_graph(tags=["train"]), make_meta_graph(tags=[]))] == [("train",), ()]


@pytest.mark.parametrize(("field", "kind"), [(1, "dense"), (4, "sparse"), (5, "composite")])
def test_the_last_encoding_of_a_tensor_counts(field: int, kind: str) -> None:
    tensor = make_tensor_info() + encode_message([(5, b""), (field, b"")])
    (found,) = read(make_meta_graph(signatures={"s": make_signature({"x": tensor}, {})}))
    assert found.signatures[0].inputs[0].kind == kind


def test_the_last_signature_of_a_name_counts_and_one_that_is_there_in_parts_is_merged() -> None:
    first = make_meta_graph(signatures={"s": make_signature({"old": make_tensor_info()}, {})})
    second = encode_message([(5, encode_message([(1, b"s"), (2, make_signature({"a": make_tensor_info()}, {}))]))])
    (found,) = read(first + second)
    assert [tensor.name for tensor in found.signatures[0].inputs] == ["a"]
    parts = [make_signature({name: make_tensor_info()}, {}) for name in "ab"]
    entry = encode_message([(1, b"s"), *((2, part) for part in parts)])
    (found,) = read(make_meta_graph() + encode_message([(5, entry)]))
    assert [tensor.name for tensor in found.signatures[0].inputs] == ["a", "b"]


def test_signatures_of_tensorflow_itself_are_marked() -> None:
    names = {"__saved_model_init_op": make_signature({}, {}), "serving_default": make_signature({}, {})}
    (found,) = read(make_meta_graph(signatures=names))
    assert [signature.is_internal for signature in found.signatures] == [True, False]


@pytest.mark.parametrize("data", [b"", b"\x08\x01", b"a graph", make_saved_model(make_meta_graph())[:-3]], ids=repr)
def test_what_is_not_a_saved_model_is_an_error(data: bytes) -> None:
    with pytest.raises(WireError):
        read_meta_graphs(MessageSource(None, data))


@pytest.mark.parametrize(
    "graph",
    [
        make_meta_graph(tags=["a", "b", "c", "d"]),
        make_meta_graph(assets=["a", "b", "c", "d"]),
        make_meta_graph(signatures={name: make_signature({}, {}) for name in "abcd"}),
        make_meta_graph(
            signatures={name: make_signature({"x": make_tensor_info()}, {"y": make_tensor_info()}) for name in "ab"}
        ),
    ],
    ids=["tags", "assets", "signatures", "tensors"],
)
def test_lists_are_limited(graph: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(read(graph)) == 1
    monkeypatch.setattr(meta_graphs, "TENSORS_MAX", 3)
    with pytest.raises(WireError, match="too many"):
        read(graph)
