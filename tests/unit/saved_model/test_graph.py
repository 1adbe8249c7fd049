"""Tests of ``saved_model.graph``: nodes, functions and attributes are read as protocol buffers define them."""

from __future__ import annotations

import pytest

from tests.fakes.checkpoints import encode_message
from tests.fakes.graphs import make_function, make_graph, make_meta_graph, make_node, make_saved_model, make_texts
from tfimm_resolver.saved_model import graph as graph_reader
from tfimm_resolver.saved_model.graph import Attribute, Graph, Node, iterate_graphs, read_graphs
from tfimm_resolver.saved_model.messages import MessageSource
from tfimm_resolver.saved_model.wire import WireError


def read(*meta_graphs: bytes) -> list[Graph]:
    """Return the graphs of a SavedModel in memory."""
    return [*iterate_graphs(MessageSource(None, make_saved_model(*meta_graphs)))]


def read_node(data: bytes) -> Node:
    """Return a node in memory."""
    return Node(MessageSource(None, data), 0, len(data))


def read_attribute(data: bytes) -> tuple[Attribute, MessageSource]:
    """Return the value of an attribute in memory."""
    source = MessageSource(None, data)
    return Attribute(source, source.all), source


def list_texts(data: bytes) -> list[str]:
    """Return the texts in the value of an attribute."""
    attribute, source = read_attribute(data)
    return [source.get_text(span) for span in attribute.iterate_texts()]


def test_graphs_and_functions_are_read_in_order() -> None:
    first = make_graph(
        [make_node("a", "Const"), make_node("b", "Add", ["a", "^a"])], [make_function("f", [make_node("c", "No")])]
    )
    graphs = read(make_meta_graph(first), make_meta_graph(make_graph([make_node("d", "MatMul")])))
    found = [
        (graph.meta_graph, graph.is_function, graph.name, [node.op for node in graph.iterate_nodes()]) for graph in graphs
    ]
    assert found == [(0, False, "", ["Const", "Add"]), (0, True, "f", ["No"]), (1, False, "", ["MatMul"])]


def test_a_node_is_read() -> None:
    call = encode_message([(10, encode_message([(1, b"f")]))])
    node = read_node(
        make_node("b", "StatefulPartitionedCall", ["x", "a:out:0", "^c"], {"f": call, "n": encode_message([(3, -5)])})
    )
    assert (node.name, node.op, node.inputs) == ("b", "StatefulPartitionedCall", ["x", "a:out:0", "^c"])
    assert [*node.attributes["f"].iterate_functions()] == ["f"] and node.attributes["n"].number == -5
    assert (node.attributes["f"].kind, node.attributes["n"].kind) == ("func", "i")


def test_a_function_tells_its_arguments_and_what_it_returns() -> None:
    function = make_function("f", [make_node("save", "SaveV2", ["prefix"])], ["prefix", "x"], {"out": "save:z:0"})
    main, graph = read(make_meta_graph(make_graph([make_node("a", "Const")], [function])))
    assert (main.list_arguments(), main.map_returns()) == ([], {})
    assert (graph.list_arguments(), graph.map_returns()) == (["prefix", "x"], {"out": "save:z:0"})


def test_the_last_value_of_a_field_counts_wherever_it_is() -> None:
    node = read_node(make_node("a", "Const") + encode_message([(2, b"WriteFile"), (1, b"b")]) + b"\x10\x01")
    assert (node.name, node.op) == ("b", "WriteFile")  # a number is not the field that the schema has
    later = make_node("a", "Const", (), {"value": encode_message([(2, b"x")])}) + make_node("", "", (), {"value": b""})
    assert read_node(later).attributes["value"].kind == ""


def test_messages_that_are_there_twice_are_merged() -> None:
    parts = [make_graph([make_node(name, "NoOp")], [make_function(name, [])]) for name in "ab"]
    graphs = read(make_meta_graph(parts[0]) + encode_message([(2, parts[1])]))
    assert [node.name for node in graphs[0].iterate_nodes()] == ["a", "b"]
    assert [graph.name for graph in graphs[1:]] == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (encode_message([(2, b"one")]), ["one"]),
        (encode_message([(2, b"one"), (2, b"two")]), ["two"]),
        (encode_message([(2, b"one"), (3, 1)]), []),
        (encode_message([(3, 1), (2, b"one")]), ["one"]),
        (make_texts(b"a", b"b"), ["a", "b"]),
        (make_texts(b"a") + make_texts(b"b"), ["a", "b"]),
        (make_texts(b"a") + encode_message([(2, b"x")]) + make_texts(b"b"), ["b"]),
        (encode_message([(1, encode_message([(2, b"a"), (2, b"b")]))]), ["a", "b"]),
        (encode_message([(1, make_texts(b"a"))]), ["a"]),
        (
            encode_message([(8, encode_message([(1, 7), (2, encode_message([(2, b"\x08\x02")])), (4, b"\1\2abb")]))]),
            ["a", "bb"],
        ),
        (encode_message([(8, encode_message([(1, 7), (4, b"\2ab")]))]), ["ab"]),
        (encode_message([(8, encode_message([(1, 1), (4, b"\2ab")]))]), []),
        (encode_message([(2, 65)]), []),
        (encode_message([(2, b"one"), (3, b"2")]), ["one"]),
        (b"", []),
    ],
    ids=[
        "s",
        "last",
        "other",
        "after",
        "tensor",
        "merged",
        "replaced",
        "list",
        "tensors",
        "packed",
        "scalar",
        "floats",
        "number",
        "bytes",
        "none",
    ],
)
def test_texts_are_found_wherever_a_value_has_them(data: bytes, texts: list[str]) -> None:
    assert list_texts(data) == texts


def test_a_packed_text_beyond_its_tensor_is_an_error() -> None:
    with pytest.raises(WireError, match="a text of 9 bytes is outside of its tensor"):
        list_texts(encode_message([(8, encode_message([(1, 7), (4, b"\x09ab")]))]) + bytes(0))


def test_functions_in_a_list_are_found() -> None:
    names = encode_message((9, encode_message([(1, name)])) for name in (b"f", b"g"))
    attribute, _ = read_attribute(encode_message([(1, names)]))
    assert [*attribute.iterate_functions()] == ["f", "g"] and attribute.number == 0 and attribute.text == ""


def test_a_graph_in_a_constant_is_read() -> None:
    inner = make_graph([make_node("w", "WriteFile")], [make_function("g", [make_node("r", "ReadFile")])])
    (graph,) = read(make_meta_graph(make_graph([make_node("c", "Const", (), {"value": make_texts(inner)})])))
    (node,) = graph.iterate_nodes()
    found = [
        node.op
        for span in node.attributes["value"].iterate_texts()
        for each in read_graphs(graph.source, (span,))
        for node in each.iterate_nodes()
    ]
    assert found == ["WriteFile", "ReadFile"]


def test_a_name_that_is_not_text_is_shown_with_backslashes() -> None:
    assert read_node(encode_message([(2, b"\xffop")])).op == "\\xffop"


def test_the_work_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_reader, "NODE_FIELDS_MAX", 2)
    assert read_node(make_node("a", "NoOp", ["x", "y"])).inputs == ["x", "y"]
    for node in (make_node("a", "NoOp", ["x", "y", "z"]), make_node("a", "NoOp", (), dict.fromkeys("xyz", b""))):
        with pytest.raises(WireError, match="over 2 inputs or attributes"):
            _ = [read_node(node).inputs, read_node(node).attributes]
    monkeypatch.setattr(graph_reader, "_PACKED_TEXTS_MAX", 1)
    with pytest.raises(WireError, match="a tensor has 2 texts"):
        list_texts(encode_message([(8, encode_message([(1, 7), (2, encode_message([(2, b"\x08\x02")])), (4, b"\1\2abb")]))]))
