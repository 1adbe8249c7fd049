"""Tests of what a value is made of: a function that a user may call is also called inside of its model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.checkpoints import encode_message
from tests.fakes.graphs import make_node
from tests.fakes.operations import (
    ASSET,
    VARIABLE,
    Model,
    make_call_attribute,
    make_child,
    make_function_object,
    make_string_attribute,
    make_text,
    make_typed_function,
    make_writer,
)
from tfimm_resolver.saved_model.operations import find_operations

CONTENTS = make_text("contents", "x")
PUT = make_typed_function("put", [CONTENTS, make_writer(path="p")], ("p",))
PUT_BELOW = make_typed_function(
    "put", [CONTENTS, make_text("end", "x"), make_node("path", "StringJoin", ["p", "end"]), make_writer()], ("p",)
)
VARIABLE_OBJECT, ASSET_OBJECT = encode_message([(VARIABLE, b"")]), encode_message([(ASSET, encode_message([(1, 1)]))])
READ_VARIABLE = make_node("path", "ReadVariableOp", ["v"])


def call(path: str = "path", function: str = "put", op: str = "StatefulPartitionedCall") -> bytes:
    return make_node("call", op, [path], {"f": make_call_attribute(function)})


def make_exposed(
    *nodes: bytes, child: str = "_initialize", arguments: tuple[str, ...] = (), captured: bytes = b"", put: bytes = PUT
) -> Model:
    """Return a model with a function that a user may call, ``put``, and one that calls it."""
    root = encode_message([make_child("put", 1), make_child(child, 2)])
    objects = [root, make_function_object("put"), make_function_object("caller")]
    functions = [put, make_typed_function("caller", nodes, arguments)]
    if not captured:
        return Model(functions=functions, objects=objects, captures={"put": [], "caller": []})
    return Model(functions=functions, objects=[*objects, captured], captures={"put": [], "caller": [3]})


ON_LOAD: dict[str, tuple[Model, str | None]] = {
    "a constant": (make_exposed(make_text("path", "evil_rel.py"), call()), "evil_rel.py"),
    "a variable": (make_exposed(READ_VARIABLE, call(), arguments=("v",), captured=VARIABLE_OBJECT), None),
    "an asset": (make_exposed(call("a"), arguments=("a",), captured=ASSET_OBJECT), None),
    "the content of a file": (make_exposed(make_text("f", "x"), make_node("path", "ReadFile", ["f"]), call()), None),
    "a decoded text": (make_exposed(make_text("t", "eA"), make_node("path", "DecodeBase64", ["t"]), call()), None),
    "below a constant": (make_exposed(make_text("path", "x"), call(), put=PUT_BELOW), "x"),
    "a default of Python": (make_exposed(call("p"), arguments=("p",)), None),
    "called by its name": (make_exposed(make_text("path", "x"), make_node("call", "put", ["path"])), "x"),
    "nothing and a variable": (
        make_exposed(
            make_text("nothing", ""),
            make_node("variable", "ReadVariableOp", ["v"]),
            make_node("path", "StringJoin", ["nothing", "variable"]),
            call(),
            arguments=("v",),
            captured=VARIABLE_OBJECT,
        ),
        None,
    ),
}


@pytest.mark.parametrize("name", ON_LOAD)
def test_a_write_on_load_is_found_though_a_user_may_call_its_function_too(name: str, tmp_path: Path) -> None:
    model, path = ON_LOAD[name]
    found = [one for one in find_operations(str(model.write(tmp_path))) if one.kind == "write"]
    assert [(one.when, one.op, one.path, one.function) for one in found] == [("on load", "WriteFile", path, "put")]


def test_a_placeholder_is_given_by_no_user_on_load(tmp_path: Path) -> None:
    model = Model(nodes=[CONTENTS, make_node("p", "Placeholder"), make_writer(path="p")], main_op="write")
    assert [(one.when, one.path) for one in find_operations(str(model.write(tmp_path)))] == [("on load", None)]


@pytest.mark.parametrize("child", ["_adapter", "public"], ids=["at an unknown time", "on a call"])
def test_a_constant_of_a_caller_inside_is_found_at_any_time(child: str, tmp_path: Path) -> None:
    model = make_exposed(make_text("path", "x"), call(), child=child)
    when = "unknown" if child == "_adapter" else "on call"
    assert [(one.when, one.path) for one in find_operations(str(model.write(tmp_path)))] == [(when, "x")]


def test_a_variable_of_a_caller_inside_is_found_at_an_unknown_time(tmp_path: Path) -> None:
    model = make_exposed(READ_VARIABLE, call(), child="_adapter", arguments=("v",), captured=VARIABLE_OBJECT)
    assert [(one.when, one.path) for one in find_operations(str(model.write(tmp_path)))] == [("unknown", None)]


def test_a_cache_is_not_in_memory_if_a_variable_is_its_path(tmp_path: Path) -> None:
    nodes = [
        make_text("nothing", ""),
        make_node("variable", "VariableV2"),
        make_node("path", "StringJoin", ["nothing", "variable"]),
        make_node("cache", "CacheDatasetV2", ["d", "path"]),
    ]
    found = find_operations(str(Model(nodes=nodes, main_op="cache").write(tmp_path)))
    assert [(one.op, one.when, one.path) for one in found] == [("CacheDatasetV2", "on load", None)]


def test_a_variable_and_an_argument_are_reported_at_an_unknown_time(tmp_path: Path) -> None:
    nodes = [
        make_node("variable", "ReadVariableOp", ["v"]),
        make_node("path", "StringJoin", ["variable", "p"]),
        call(),
    ]
    model = make_exposed(*nodes, child="_adapter", arguments=("p", "v"), captured=VARIABLE_OBJECT)
    model.functions[0] = make_typed_function("inner", [CONTENTS, make_writer(path="p")], ("p",))
    model.functions[1] = make_typed_function("caller", [*nodes[:2], call(function="inner")], ("p", "v"))
    assert [(one.when, one.path) for one in find_operations(str(model.write(tmp_path)))] == [("unknown", None)]


def test_a_loop_that_replaces_what_a_user_passes_is_found(tmp_path: Path) -> None:
    body = make_typed_function(
        "body", [CONTENTS, make_text("next", "x"), make_writer(path="p")], ("p",), {"q": "next:output:0"}
    )
    loop = make_node("call", "While", ["p"], {"body": make_call_attribute("body")})
    root = encode_message([make_child("public", 1)])
    model = Model(
        functions=[body, make_typed_function("caller", [loop], ("p",))], objects=[root, make_function_object("caller")]
    )
    assert [(one.when, one.path) for one in find_operations(str(model.write(tmp_path)))] == [("on call", "x")]


SILENT: dict[str, Model] = {
    "a user's path, passed on": make_exposed(call("p"), child="public", arguments=("p",)),
    "below a user's path, at an unknown time": make_exposed(call("p"), child="_put", arguments=("p",), put=PUT_BELOW),
    "joined by the caller": make_exposed(
        make_text("end", "/x"),
        make_node("path", "StringJoin", ["p", "end"]),
        call(),
        child="_put",
        arguments=("p",),
    ),
    "joined with a separator": make_exposed(
        make_text("end", "x"),
        make_node("path", "StringJoin", ["p", "end"], {"separator": make_string_attribute("/")}),
        call(),
        child="public",
        arguments=("p",),
    ),
    "a part of a user's path": make_exposed(
        make_node("number", "Const"),
        make_node("path", "GatherV2", ["p", "number", "number"]),
        call(),
        child="public",
        arguments=("p",),
    ),
    "a variable on a call": make_exposed(READ_VARIABLE, call(), child="public", arguments=("v",), captured=VARIABLE_OBJECT),
    "an asset that is read on load": make_exposed(
        call("a"),
        arguments=("a",),
        captured=ASSET_OBJECT,
        put=make_typed_function("put", [make_node("read", "ReadFile", ["p"])], ("p",)),
    ),
}


@pytest.mark.parametrize("name", SILENT)
def test_what_a_user_passes_or_an_asset_that_is_read_is_not_reported(name: str, tmp_path: Path) -> None:
    assert find_operations(str(SILENT[name].write(tmp_path))) == []
