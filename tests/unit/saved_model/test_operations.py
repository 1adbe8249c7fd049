"""Tests of the search for operations, with graphs made by hand; tests/tensorflow has the ones that TensorFlow makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.checkpoints import encode_message, encode_varint
from tests.fakes.graphs import STRING, make_graph, make_node, make_shape, make_texts
from tests.fakes.operations import (
    ASSET,
    CONSTANT,
    VARIABLE,
    Model,
    make_call_attribute,
    make_child,
    make_function_object,
    make_harmless_model,
    make_loading_model,
    make_string_attribute,
    make_text,
    make_typed_function,
    make_writer,
)
from tfimm_resolver.saved_model import operations
from tfimm_resolver.saved_model.operation_rules import KINDS, RULES
from tfimm_resolver.saved_model.operations import Operation, find_operations

CONTENTS = make_text("contents", "x")
ARGUMENT = make_node("argument", "Placeholder")
VARIABLE_NODES = [make_node("handle", "VarHandleOp"), make_node("variable", "ReadVariableOp", ["handle"])]


def make_calls(*nodes: bytes) -> Model:
    """Return a model whose signature asks for the node ``write``."""
    return Model(nodes=[*nodes, CONTENTS], outputs=["write:0"], inputs=["argument:0"])


def make_function_model(*functions: bytes, child: str = "f", captures: list[int] | None = None, objects: list[bytes]) -> Model:
    """Return a model of TensorFlow 2 whose first object has a function ``f``."""
    root = encode_message([make_child(child, 1), (4, b"")])
    return Model(functions=[*functions], objects=[root, make_function_object("f"), *objects], captures={"f": captures or []})


def make_writing_function(name: str = "f", path: str = "path", *nodes: bytes, arguments: tuple[str, ...] = ()) -> bytes:
    return make_typed_function(name, [*nodes, make_text("contents", "x"), make_writer(path=path)], arguments)


def join(*inputs: str, name: str = "path") -> bytes:
    return make_node(name, "StringJoin", inputs)


def make_packed_constant(name: str, *texts: bytes) -> bytes:
    """Encode a constant of texts in the packed form, which TensorFlow reads and does not write."""
    content = b"".join(encode_varint(len(text)) for text in texts) + b"".join(texts)
    tensor = encode_message([(1, STRING), (2, make_shape([len(texts)])), (4, content)])
    return make_node(name, "Const", attributes={"value": encode_message([(8, tensor)])})


def make_nested(graph: bytes) -> Model:
    constant = make_node("graph", "Const", attributes={"value": make_texts(graph)})
    return Model(nodes=[constant, make_node("run", "DatasetFromGraph", ["graph"])], outputs=["run:0"])


WRITING_GRAPH = make_graph([make_text("path", "/tmp/inner"), CONTENTS, make_writer()])

WRITES: dict[str, tuple[Model, str | None, str]] = {
    "an absolute path": (make_calls(make_text("path", "/tmp/x"), make_writer()), "/tmp/x", "on call"),
    "a relative path": (make_calls(make_text("path", "x/y"), make_writer()), "x/y", "on call"),
    "a home": (make_calls(make_text("path", "~/x"), make_writer()), "~/x", "on call"),
    "a joined path": (
        make_calls(make_text("a", "/tmp/"), make_text("b", "x"), join("a", "b"), make_writer()),
        "/tmp/x",
        "on call",
    ),
    "absolute before an argument": (
        make_calls(ARGUMENT, make_text("a", "/e/"), join("a", "argument"), make_writer()),
        "/e/",
        "on call",
    ),
    "a home before an argument": (
        make_calls(ARGUMENT, make_text("a", "~/"), join("a", "argument"), make_writer()),
        "~/",
        "on call",
    ),
    "dots after an argument": (
        make_calls(ARGUMENT, make_text("a", "/../x"), join("argument", "a"), make_writer()),
        "/../x",
        "on call",
    ),
    "an empty part of an argument": (
        make_calls(ARGUMENT, make_node("s", "Substr", ["argument"]), make_text("a", "/e/x"), join("s", "a"), make_writer()),
        "/e/x",
        "on call",
    ),
    "a rewritten argument": (
        make_calls(
            ARGUMENT,
            make_node("path", "StaticRegexReplace", ["argument"], {"rewrite": make_string_attribute("/e/x")}),
            make_writer(),
        ),
        "/e/x",
        "on call",
    ),
    "decoded": (make_calls(make_text("a", "L3Rt"), make_node("path", "DecodeBase64", ["a"]), make_writer()), None, "on call"),
    "numbers": (
        make_calls(make_node("path", "UnicodeEncode", ["n"]), make_node("n", "Const"), make_writer()),
        None,
        "on call",
    ),
    "packed": (make_calls(make_packed_constant("path", b"", b"/tmp/p"), make_writer()), "/tmp/p", "on call"),
    "a default that is not fed": (
        make_calls(make_text("d", "/d"), make_node("path", "PlaceholderWithDefault", ["d"]), make_writer()),
        "/d",
        "on call",
    ),
    "on load": (make_loading_model(), "/tmp/planted", "on load"),
    "before the main op": (
        Model(nodes=[make_text("path", "p"), CONTENTS, make_writer(), make_node("init", "NoOp", ["^write"])], main_op="init"),
        "p",
        "on load",
    ),
    "a table's initializer": (
        Model(nodes=[make_text("path", "p"), CONTENTS, make_writer()], collections={"table_initializer": ["write"]}),
        "p",
        "on load",
    ),
    "with the restore": (Model(nodes=[make_text("path", "p"), CONTENTS, make_writer()], restore_op="write"), "p", "on load"),
    "from a variable on load": (
        Model(nodes=[*VARIABLE_NODES, CONTENTS, make_writer(path="variable")], main_op="write"),
        None,
        "on load",
    ),
    "declared as the path of the checkpoint": (
        Model(nodes=[make_text("path", "p"), CONTENTS, make_writer()], main_op="write", filename="path:0"),
        "p",
        "on load",
    ),
    "declared as an input": (
        Model(nodes=[make_text("path", "p"), CONTENTS, make_writer()], main_op="write", inputs=["path:0"], outputs=["path:0"]),
        "p",
        "on load",
    ),
    "declared as an input of another signature": (
        Model(nodes=[make_text("path", "/p"), CONTENTS, make_writer()], inputs=["path:0"], outputs=["write:0"]),
        "/p",
        "on call",
    ),
    "declared as an asset": (
        Model(nodes=[make_text("path", "/p"), CONTENTS, make_writer()], main_op="write", assets={"path:0": "a"}),
        "/p",
        "on load",
    ),
    "a decoded beginning": (
        make_calls(
            ARGUMENT, make_text("a", "L2V0Yy8"), make_node("d", "DecodeBase64", ["a"]), join("d", "argument"), make_writer()
        ),
        None,
        "on call",
    ),
    "a beginning that is not read": (
        make_calls(ARGUMENT, make_node("a", "Const"), join("a", "argument"), make_writer()),
        None,
        "on call",
    ),
    "an argument replaced by what is decoded": (
        make_calls(
            ARGUMENT,
            make_text("a", "L2V0Yy8"),
            make_text("any", ".*"),
            make_node("d", "DecodeBase64", ["a"]),
            make_node("path", "RegexReplace", ["argument", "any", "d"]),
            make_writer(),
        ),
        None,
        "on call",
    ),
    "a value of a table": (
        make_calls(
            ARGUMENT, make_node("t", "HashTableV2"), make_node("path", "LookupTableFindV2", ["t", "argument"]), make_writer()
        ),
        None,
        "on call",
    ),
    "an attribute of the call": (
        make_calls(
            ARGUMENT,
            make_node("a", "Const", attributes={"value": encode_message([(9, b"path")])}),
            make_node("path", "Pack", ["a", "argument"]),
            make_writer(),
        ),
        None,
        "on call",
    ),
    "never": (Model(nodes=[make_text("path", "p"), CONTENTS, make_writer()]), "p", "unknown"),
    "in a function": (
        make_function_model(make_writing_function("f", "path", make_text("path", "/f")), objects=[]),
        "/f",
        "on call",
    ),
    "captured": (
        Model(
            nodes=[make_text("captured", "/c")],
            functions=[make_writing_function("f", "p", arguments=("x", "p"))],
            objects=[
                encode_message([make_child("f", 1)]),
                make_function_object("f"),
                encode_message([(CONSTANT, encode_message([(1, b"captured")]))]),
            ],
            captures={"f": [2]},
        ),
        "/c",
        "on call",
    ),
    "given by a caller": (
        make_function_model(
            make_typed_function(
                "f",
                [
                    make_text("p", "/given"),
                    make_node("call", "StatefulPartitionedCall", ["p"], {"f": make_call_attribute("g")}),
                ],
            ),
            make_writing_function("g", "q", arguments=("q",)),
            objects=[],
        ),
        "/given",
        "on call",
    ),
    "returned by a function": (
        make_function_model(
            make_writing_function(
                "f", "call:output:1", make_node("call", "PartitionedCall", [], {"f": make_call_attribute("g")})
            ),
            make_typed_function(
                "g", [make_text("a", "/other"), make_text("b", "/r")], (), {"x": "a:output:0", "y": "b:output:0"}
            ),
            objects=[],
        ),
        "/r",
        "on call",
    ),
    "called by its name": (
        make_function_model(
            make_writing_function("f", "call:y:0", make_node("call", "g")),
            make_typed_function(
                "g", [make_text("a", "/other"), make_text("b", "/n")], (), {"x": "a:output:0", "y": "b:output:0"}
            ),
            objects=[],
        ),
        "/n",
        "on call",
    ),
    "a branch": (
        make_function_model(
            make_typed_function(
                "f",
                [make_text("p", "/branch"), make_node("if", "If", ["c", "p"], {"then_branch": make_call_attribute("g")})],
                ("c",),
            ),
            make_writing_function("g", "q", arguments=("q",)),
            objects=[],
        ),
        "/branch",
        "on call",
    ),
    "a function of a list": (
        make_function_model(
            make_typed_function(
                "f",
                [
                    make_text("p", "/listed"),
                    make_node(
                        "case",
                        "Case",
                        ["i", "p"],
                        {"branches": encode_message([(1, encode_message([(9, encode_message([(1, b"g")]))]))])},
                    ),
                ],
                ("i",),
            ),
            make_writing_function("g", "q", arguments=("q",)),
            objects=[],
        ),
        "/listed",
        "on call",
    ),
    "a private child": (
        make_function_model(
            make_writing_function("f", "path", make_text("path", "p")), child="_checkpoint_adapter", objects=[]
        ),
        "p",
        "unknown",
    ),
    **{
        f"the function {child}": (
            make_function_model(make_writing_function("f", "path", make_text("path", "p")), child=child, objects=[]),
            "p",
            "on load",
        )
        for child in ("_create_resource", "_initialize", "_destroy_resource")
    },
    "a restorer": (
        Model(
            functions=[make_writing_function("f", "path", make_text("path", "p"))],
            objects=[
                encode_message([(11, encode_message([(1, b"k"), (2, encode_message([(3, 1)]))]))]),
                make_function_object("f"),
            ],
        ),
        "p",
        "on load",
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_written_file_is_found(name: str, tmp_path: Path) -> None:
    model, path, when = WRITES[name]
    found = find_operations(str(model.write(tmp_path)))
    assert [(one.kind, one.when, one.op, one.path, one.node) for one in found] == [("write", when, "WriteFile", path, "write")]


HARMLESS: dict[str, Model] = {
    "nothing": make_calls(make_node("write", "Identity", ["argument"]), ARGUMENT),
    "an argument": make_calls(ARGUMENT, make_writer(path="argument")),
    "below an argument": make_calls(ARGUMENT, make_text("a", "/x"), join("argument", "a"), make_writer()),
    "below an argument, by a name": make_calls(
        ARGUMENT, make_node("same", "Identity", ["argument"]), make_text("a", "/x"), join("same", "a"), make_writer()
    ),
    "joined with a slash": make_calls(
        ARGUMENT,
        make_text("a", "x"),
        make_node("path", "StringJoin", ["argument", "a"], {"separator": make_string_attribute("/")}),
        make_writer(),
    ),
    "a variable": make_calls(*VARIABLE_NODES, make_writer(path="variable")),
    "a default that a signature feeds": make_calls(
        make_text("d", "x"), make_node("argument", "PlaceholderWithDefault", ["d"]), make_writer(path="argument")
    ),
    "a vocabulary": make_harmless_model(),
    "the checkpoint of TensorFlow 1": Model(
        nodes=[make_text("c", "model"), make_node("s", "SaveV2", ["c"]), make_node("r", "RestoreV2", ["c"])],
        filename="c:0",
        restore_op="r",
    ),
    "a captured asset": Model(
        functions=[make_typed_function("f", [make_node("read", "ReadFile", ["p"])], ("p",))],
        objects=[
            encode_message([make_child("f", 1)]),
            make_function_object("f"),
            encode_message([(ASSET, encode_message([(1, 1)]))]),
        ],
        captures={"f": [2]},
    ),
    "a captured variable": Model(
        functions=[make_typed_function("f", [make_node("read", "ReadFile", ["p"])], ("p",))],
        objects=[encode_message([make_child("f", 1)]), make_function_object("f"), encode_message([(VARIABLE, b"")])],
        captures={"f": [2]},
    ),
    "a cache in memory": make_calls(make_text("path", ""), make_node("write", "CacheDataset", ["d", "path"])),
    "a print": make_calls(make_node("write", "PrintV2", ["argument"], {"output_stream": make_string_attribute("stderr")})),
    "a local descriptor": make_calls(
        make_node("write", "DecodeProtoV2", [], {"descriptor_source": make_string_attribute("local://")})
    ),
    "no debugger": make_calls(make_node("write", "DebugIdentity", [], {"debug_urls": encode_message([(1, b"")])})),
    "a layer of Keras": Model(metadata=[json.dumps({"class_name": "Dense", "config": {"name": "lambda"}})]),
    "a function of TensorFlow": Model(metadata=[json.dumps({"class_name": "TFOpLambda", "config": {"function": "nn.relu"}})]),
    "a restored tensor": Model(
        functions=[make_typed_function("f", [make_node("load", "RestoreV2", ["p"])], ("p",))],
        objects=[
            encode_message([(11, encode_message([(1, b"k"), (2, encode_message([(2, 1)]))])), make_child("f", 1)]),
            make_function_object("f"),
        ],
    ),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_is_not_reported(name: str, tmp_path: Path) -> None:
    assert find_operations(str(HARMLESS[name].write(tmp_path))) == []


OTHERS: dict[str, tuple[bytes, tuple[str, str | None]]] = {
    "read": (make_node("x", "ReadFile", ["path"]), ("read", "/etc/x")),
    "saved": (make_node("x", "SaveV2", ["path"]), ("write", "/etc/x")),
    "merged": (make_node("x", "MergeV2Checkpoints", ["argument", "path"]), ("write", "/etc/x")),
    "restored": (make_node("x", "RestoreV2", ["path"]), ("read", "/etc/x")),
    "vocabulary": (make_node("x", "InitializeTableFromTextFileV2", ["table", "path"]), ("read", "/etc/x")),
    "cached": (make_node("x", "CacheDatasetV2", ["d", "path"]), ("write", "/etc/x")),
    "python": (make_node("x", "EagerPyFunc"), ("python", None)),
    "service": (make_node("x", "DataServiceDatasetV4", ["a", "b", "path"]), ("network", "/etc/x")),
    "rpc": (make_node("x", "RpcClient", ["path"]), ("network", "/etc/x")),
    "kafka": (make_node("x", "IO>KafkaReadableInit"), ("network", None)),
    "printed": (make_node("x", "PrintV2", [], {"output_stream": make_string_attribute("file:///p")}), ("write", "/p")),
    "mapped": (make_node("x", "ImmutableConst", [], {"memory_region_name": make_string_attribute("/m")}), ("read", "/m")),
    "dumped": (make_node("x", "DumpTensor", [], {"log_dir_path": make_string_attribute("/d")}), ("write", "/d")),
    "debugged": (
        make_node("x", "DebugIdentity", [], {"debug_urls": make_string_attribute("grpc://h:1", "")}),
        ("network", "grpc://h:1"),
    ),
    "copied": (
        make_node("x", "Copy", [], {"debug_ops_spec": make_string_attribute("DebugIdentity;file:///c;0", "")}),
        ("write", "file:///c"),
    ),
    "described": (
        make_node("x", "DecodeProtoV2", [], {"descriptor_source": make_string_attribute("/etc/d")}),
        ("read", "/etc/d"),
    ),
    "serialized": (make_node("x", "RemoteFusedGraphExecute"), ("hidden-graph", None)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_operation_of_each_kind_is_found(name: str, tmp_path: Path) -> None:
    node, expected = OTHERS[name]
    model = Model(nodes=[make_text("path", "/etc/x"), ARGUMENT, node], inputs=["argument:0"], outputs=["x:0"])
    assert [(one.kind, one.path) for one in find_operations(str(model.write(tmp_path)))] == [expected]


def test_every_rule_names_a_known_kind() -> None:
    assert {rule.kind for rules in RULES.values() for rule in rules} == {*KINDS}


def test_a_graph_in_a_constant_is_searched_too(tmp_path: Path) -> None:
    found = find_operations(str(make_nested(WRITING_GRAPH).write(tmp_path)))
    assert [(one.kind, one.op, one.path, one.function) for one in found] == [
        ("hidden-graph", "DatasetFromGraph", None, ""),
        ("write", "WriteFile", "/tmp/inner", "main graph/run"),
    ]
    assert [one.when for one in found] == ["on call", "on call"]


def nest(depth: int) -> Model:
    """Return a model with graphs in graphs, so many deep, of which the innermost writes a file."""
    graph = WRITING_GRAPH
    for _ in range(depth - 1):
        constant = make_node("graph", "Const", attributes={"value": make_texts(graph)})
        graph = make_graph([constant, make_node("run", "DatasetFromGraph", ["graph"])])
    return make_nested(graph)


def test_graphs_in_graphs_are_searched_to_a_depth_and_deeper_ones_are_an_error(tmp_path: Path) -> None:
    assert find_operations(str(nest(5).write(tmp_path)))[-1].path == "/tmp/inner"
    with pytest.raises(ValueError, match="deep"):
        find_operations(str(nest(12).write(tmp_path)))


@pytest.mark.parametrize("name", ["/etc/passwd", "../../x", "gs://bucket/x", "C:\\x"])
def test_an_asset_outside_of_the_model_is_read_on_load(name: str, tmp_path: Path) -> None:
    model = make_harmless_model()
    model.assets = {"vocabulary:0": name}
    assert [(one.kind, one.when, one.path) for one in find_operations(str(model.write(tmp_path)))] == [
        ("read", "on load", name)
    ]


def test_the_constant_of_an_asset_is_read_on_a_call_where_nothing_is_fed(tmp_path: Path) -> None:
    model = make_harmless_model()
    model.nodes.append(make_node("read", "ReadFile", ["vocabulary"]))
    model.outputs = ["read:0"]
    assert [(one.op, one.when, one.path) for one in find_operations(str(model.write(tmp_path)))] == [
        ("ReadFile", "on call", "/old/vocab.txt")
    ]


def test_a_vocabulary_that_is_not_an_asset_is_read_on_load(tmp_path: Path) -> None:
    model = make_harmless_model()
    model.assets = {"other:0": "vocab.txt"}  # whose name is the same does not matter
    assert [(one.when, one.path) for one in find_operations(str(model.write(tmp_path)))] == [("on load", "/old/vocab.txt")]


LAYERS = {
    "Lambda": ({"class_name": "Lambda", "config": {"name": "double"}}, ("python", "Lambda")),
    "registered": ({"class_name": "keras>Lambda", "config": {"name": "x"}}, ("python", "Lambda")),
    "deeper": ({"config": {"layers": [{"class_name": "Lambda", "config": {"name": "x"}}]}}, ("python", "Lambda")),
    "a function": ({"class_name": "TFOpLambda", "config": {"function": "io.write_file"}}, ("write", "TFOpLambda")),
    "a raw op": ({"class_name": "TFOpLambda", "config": {"function": "raw_ops.ReadFile"}}, ("read", "TFOpLambda")),
    "python": ({"class_name": "TFOpLambda", "config": {"function": "py_function"}}, ("python", "TFOpLambda")),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    "encode", [json.dumps, lambda value: json.dumps(value).replace("m", "\\u006d")], ids=["plain", "escaped"]
)
def test_code_in_the_metadata_of_keras_is_found(name: str, encode: Callable[[object], str], tmp_path: Path) -> None:
    layer, expected = LAYERS[name]
    found = find_operations(str(Model(metadata=[encode(layer)]).write(tmp_path)))
    assert [(one.kind, one.op) for one in found] == [expected] and found[0].when == "unknown"


def test_code_in_metadata_in_the_graph_is_found(tmp_path: Path) -> None:
    text = json.dumps(LAYERS["Lambda"][0]).encode()
    model = Model(objects=[encode_message([(4, encode_message([(1, b"_tf_keras_layer"), (3, text)]))])])
    assert [one.op for one in find_operations(str(model.write(tmp_path)))] == ["Lambda"]


@pytest.mark.parametrize(
    "change",
    [
        lambda path: (path / "saved_model.pb").write_bytes(b"\x12\xff"),
        lambda path: (path / "saved_model.pb").write_bytes((path / "saved_model.pb").read_bytes()[:-5]),
        lambda path: (path / "saved_model.pbtxt").write_text("x"),
        lambda path: (path / "saved_model.cpb").write_text("x"),
        lambda path: (path / "keras_metadata.pb").write_bytes(b"\x0a\xff"),
        lambda path: (path / "keras_metadata.pb").write_bytes(encode_message([(1, encode_message([(5, b"Lambda {")]))])),
        lambda path: (path / "saved_model.pb").write_bytes(Model(functions=[make_typed_function("f", [])] * 2).encode()),
        lambda path: (path / "saved_model.pb").write_bytes(b""),
    ],
    ids=["no graph", "truncated", "text beside", "chunks beside", "metadata", "not JSON", "functions of one name", "empty"],
)
def test_what_cannot_be_searched_completely_is_an_error(change: Callable[[Path], object], tmp_path: Path) -> None:
    make_harmless_model().write(tmp_path)
    change(tmp_path)
    with pytest.raises(ValueError, match=r"\w"):
        find_operations(str(tmp_path))


def test_without_a_graph_the_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_operations(str(tmp_path))


def test_a_loop_of_calls_ends(tmp_path: Path) -> None:
    call = make_node("call", "PartitionedCall", ["q"], {"f": make_call_attribute("f")})
    body = [call, make_text("contents", "x"), make_writer(path="call:output:0")]
    model = make_function_model(make_typed_function("f", body, ("q",), {"y": "call:output:0"}), objects=[])
    assert [one.path for one in find_operations(str(model.write(tmp_path)))] == [None]


def test_paths_that_take_too_long_to_follow_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "STEPS_MAX", 100)
    chain = [make_node(f"n{number}", "Identity", [f"n{number + 1}"]) for number in range(101)]
    with pytest.raises(ValueError, match="too long"):
        find_operations(str(make_calls(*chain, make_writer(path="n0")).write(tmp_path)))


def test_too_many_operations_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "_OPERATIONS_MAX", 3)
    writers = [make_writer(f"w{number}") for number in range(5)]
    with pytest.raises(ValueError, match="more than 3"):
        find_operations(str(make_calls(make_text("path", "/x"), *writers).write(tmp_path)))


def test_a_function_of_the_name_of_an_operation_hides_nothing(tmp_path: Path) -> None:
    body = make_writing_function("MatMul", "path", make_text("path", "/x"))
    model = make_function_model(make_typed_function("f", [make_node("m", "MatMul")]), body, objects=[])
    assert [(one.function, one.when) for one in find_operations(str(model.write(tmp_path)))] == [("MatMul", "on call")]


@pytest.mark.parametrize(
    ("operation", "is_remote"),
    [
        (Operation("write", "on call", "WriteFile", "gs://b/x"), True),
        (Operation("read", "on call", "ReadFile", "HTTPS://h/x"), True),
        (Operation("write", "on call", "PrintV2", "file:///x"), False),
        (Operation("network", "on call", "RpcClient"), True),
        (Operation("write", "on call", "WriteFile", "/x"), False),
    ],
)
def test_an_address_as_a_path_is_of_the_network(operation: Operation, is_remote: bool) -> None:
    assert operation.is_remote == is_remote


def test_modules_of_the_search_are_used_as_they_are_documented() -> None:
    from tfimm_resolver.saved_model import entry_points, graph_index, keras_layers, origins, path_tracing

    assert entry_points.get_node("^a:1") == "a" and entry_points.normalize("a") == entry_points.normalize("a:0") == "a:0"
    assert (
        origins.Origin(is_argument=True).is_supplied_alone
        and path_tracing.PathTracer
        and graph_index.GraphIndex
        and keras_layers.METADATA_FILE == "keras_metadata.pb"
    )
