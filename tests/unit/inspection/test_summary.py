"""Tests of ``inspection.summary`` and ``inspection.report``: what a person and a program see of a model."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.checkpoints import make_entry, write_checkpoint
from tests.fakes.graphs import make_graph, make_meta_graph, make_node, make_object, make_variable, write_saved_model
from tfimm_resolver.inspection import summary
from tfimm_resolver.inspection.reading import inspect
from tfimm_resolver.inspection.report import LARGEST, Inspection
from tfimm_resolver.saved_model.meta_graphs import SignatureTensor


def list_rows(model: Inspection) -> dict[str, list[str]]:
    """Return the texts of the rows by their labels."""
    rows: dict[str, list[str]] = {}
    for label, text in summary.list_rows(model):
        rows.setdefault(label, []).append(text)
    return rows


def test_rows_describe_the_model(tmp_path: Path) -> None:
    graph = make_graph([make_node("a", "CaseFoldUTF8")])
    objects = [make_object({"v": 1}), make_variable((3,)), make_variable((2,), is_trainable=False)]
    path = write_saved_model(tmp_path / "m", make_meta_graph(graph, objects=objects, assets=["v.txt"]), weights={"v": (3,)})
    rows = list_rows(inspect(path))
    assert rows["format"] == ["TensorFlow 2, written by TensorFlow 2.21.0"] and rows["tags"] == ["serve"]
    assert rows["graph"] == ["1 node, 0 functions, 1 kind of operations"]
    assert rows["weights"] == ["5 parameters, 3 of them trainable", "1 tensor, 12 B in 1 data file"]
    assert rows["needs"] == ["tensorflow-text (import tensorflow_text): CaseFoldUTF8"]
    assert rows["assets"] == ["v.txt"] and rows["missing"] == ["assets/v.txt is missing"]


def test_one_parameter_is_in_the_singular(tmp_path: Path) -> None:
    objects = [make_object({"v": 1}), make_variable((1,))]
    path = write_saved_model(tmp_path / "m", make_meta_graph(b"", objects=objects), weights={"v": (1,)})
    assert list_rows(inspect(path))["weights"][0] == "1 parameter, 1 of them trainable"


def test_weights_that_are_stored_twice_are_mentioned(tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "m")
    (path / "variables").mkdir()
    data = b"\1" * 8192
    entries = {name: make_entry(1, [2048], data) for name in (b"a", b"b")}
    write_checkpoint(path / "variables/variables", entries, data)
    assert list_rows(inspect(path))["weights"][2] == "8.2 kB of it is stored more than once"


def test_long_lists_are_cut(tmp_path: Path) -> None:
    graph = make_meta_graph(tags=[], assets=map(str, range(12)))
    weights = {f"v{number:02}": (number,) for number in range(1, 15)}
    model = inspect(write_saved_model(tmp_path / "m", graph, weights=weights))
    rows = list_rows(model)
    assert rows["tags"] == ["(none)"] and rows["assets"][10:] == ["and 2 more"] and len(rows["missing"]) == 11
    assert (
        len(model.facts()["weights"]["largest"]) == LARGEST and len(model.facts(all_weights=True)["weights"]["largest"]) == 14
    )


def test_another_format_is_named(tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "m")
    (path / "saved_model.pb").rename(path / "saved_model.cpb")
    assert list_rows(inspect(path))["format"][0].startswith("saved_model.cpb, a format that is not parsed")
    assert list_rows(inspect(path))["weights"] == ["none"]


def test_shapes_and_types_are_text() -> None:
    assert [*map(summary.format_shape, (None, (), (None, 3)))] == ["(any shape)", "()", "(?, 3)"]
    tensors = (
        SignatureTensor("a", "int8", ()),
        SignatureTensor("a", "int8", (), "sparse"),
        SignatureTensor("a", "", (), "composite"),
    )
    assert [*map(summary.format_type, tensors)] == ["int8", "sparse int8", "composite"]


def test_facts_are_json_and_the_text_of_a_value_has_no_secret(tmp_path: Path) -> None:
    model = inspect(write_saved_model(tmp_path / "m", weights={"v": (3,)}))
    assert json.loads(json.dumps(model.facts()))["weights"]["largest"][0]["shape"] == [3]
    secret = Inspection("https://user:secret@host/m", "/m", "", "saved_model.pb", (), (), (), None, ())
    assert "secret" not in repr(secret)
