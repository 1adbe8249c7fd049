"""Tests of the operations that ``inspect`` shows: as a value, in JSON, as rows and as HTML."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.operations import make_harmless_model, make_loading_model
from tfimm_resolver.inspection import summary
from tfimm_resolver.inspection.reading import inspect


def test_operations_are_listed_with_time_path_and_node(tmp_path: Path) -> None:
    model = inspect(make_loading_model().write(tmp_path / "m"))
    assert [(one.kind, one.when, one.path) for one in model.operations or ()] == [("write", "on load", "/tmp/planted")]
    assert [*summary.list_operation_rows(model)] == [("touches", "write on load: WriteFile /tmp/planted (write)")]


def test_json_has_them_only_if_they_are_asked_for(tmp_path: Path) -> None:
    model = inspect(make_loading_model().write(tmp_path / "m"))
    assert model.facts()["operations"] is None
    assert model.facts(operations=True)["operations"] == [
        {
            "kind": "write",
            "when": "on load",
            "op": "WriteFile",
            "path": "/tmp/planted",
            "node": "write",
            "function": None,
            "note": None,
        }
    ]


def test_a_model_without_any_says_so(tmp_path: Path) -> None:
    model = inspect(make_harmless_model().write(tmp_path / "m"))
    assert model.operations == ()
    assert next(text for _, text in summary.list_operation_rows(model)).startswith("nothing was found")


def test_a_model_that_cannot_be_searched_says_so(tmp_path: Path) -> None:
    path = make_harmless_model().write(tmp_path / "m")
    (path / "saved_model.pbtxt").write_text("x")
    model = inspect(path)
    assert model.operations is None
    assert [*summary.list_operation_rows(model)] == [("touches", "not known: the graph cannot be searched completely")]


def test_a_hostile_path_is_escaped_in_html(tmp_path: Path) -> None:
    text = inspect(make_loading_model("/tmp/<script>\x1b\u202e").write(tmp_path / "m"))._repr_html_()
    assert "/tmp/&lt;script&gt;" in text and "<script>" not in text and "\u202e" not in text and "\x1b" not in text
