"""Tests of ``loading.missing_ops``: all packages that a model needs are named at once."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.fakes.graphs import make_graph, make_meta_graph, make_node, write_saved_model
from tfimm_resolver.loading.missing_ops import explain

TEXT = "Op type not registered 'CaseFoldUTF8' in binary running on host"


def write(folder: Path, *ops: str) -> str:
    """Write a model with these operations; returns its directory."""
    return str(write_saved_model(folder / "m", make_meta_graph(make_graph([make_node(op, op) for op in ops]))))


def test_each_package_that_is_not_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "CaseFoldUTF8", "MatMul", "IO>DecodeAvro", "SimpleMLInferenceOpWithHandle")
    monkeypatch.setitem(sys.modules, "tensorflow_decision_forests", ModuleType("tensorflow_decision_forests"))
    error = explain(path, TEXT)
    assert error is not None
    assert "'CaseFoldUTF8', which is not part of TensorFlow\n  the model needs tensorflow-io, tensorflow-text" in error.text
    assert error.fix == "pip install tensorflow-io tensorflow-text, then import tensorflow_io, tensorflow_text before loading."


def test_the_operation_alone_is_enough(tmp_path: Path) -> None:
    for path in (str(tmp_path / "none"), "gs://bucket/m"):
        error = explain(path, TEXT)
        assert error is not None and error.fix == "pip install tensorflow-text, then import tensorflow_text before loading."


def test_an_operation_of_an_unknown_package(tmp_path: Path) -> None:
    error = explain(write(tmp_path, "CaseFoldUTF8"), "Op type not registered 'MyOp'")
    assert error is not None and "documentation" in error.fix and "the model needs tensorflow-text" not in error.text


def test_another_failure_is_not_explained(tmp_path: Path) -> None:
    assert explain(write(tmp_path), "Graph execution error") is None
