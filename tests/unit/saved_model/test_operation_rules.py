"""Tests of operations that write though their name does not say so, or write where their path is empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.graphs import make_node
from tests.fakes.operations import Model, make_text
from tfimm_resolver.saved_model.operations import find_operations

ARGUMENT = make_node("argument", "Placeholder")
QUERY = make_text("query", "SELECT 1")


def find(tmp_path: Path, *nodes: bytes) -> list[tuple[str, str | None]]:
    model = Model(nodes=[*nodes, ARGUMENT, QUERY], inputs=["argument:0"], outputs=["x:0"])
    return [(one.kind, one.path) for one in find_operations(str(model.write(tmp_path)))]


@pytest.mark.parametrize("op", ["SqlDataset", "ExperimentalSqlDataset"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/x", [("write", "/etc/x"), ("read", "/etc/x")]),
        ("x.db", [("write", "x.db"), ("read", "x.db")]),
        ("", [("write", None)]),
    ],
    ids=["absolute", "relative", "empty"],
)
def test_a_query_writes_to_its_database_or_another_one(
    op: str, path: str, expected: list[tuple[str, str | None]], tmp_path: Path
) -> None:
    nodes = make_text("driver", "sqlite"), make_text("path", path), make_node("x", op, ["driver", "path", "query"])
    assert find(tmp_path, *nodes) == expected


def test_a_query_of_a_database_that_a_user_names_is_reported_too(tmp_path: Path) -> None:
    assert find(tmp_path, make_node("x", "SqlDataset", ["query", "argument", "query"])) == [("write", None)]


@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        ("SnapshotDatasetV2", ["argument", "empty"]),
        ("SaveV2", ["empty"]),
        ("SaveDatasetV2", ["argument", "empty"]),
        ("CreateSummaryFileWriter", ["argument", "empty"]),
        ("CreateSummaryDbWriter", ["argument", "empty"]),
        ("SerializeTRTResource", ["query", "empty"]),
    ],
)
def test_an_empty_path_is_the_working_directory_where_it_is_not_a_cache(op: str, inputs: list[str], tmp_path: Path) -> None:
    assert find(tmp_path, make_text("empty", ""), make_node("x", op, inputs)) == [("write", None)]


def test_an_engine_is_read_from_a_path_that_is_not_an_asset(tmp_path: Path) -> None:
    nodes = make_text("path", "/e"), make_node("x", "InitializeTRTResource", ["argument", "path"])
    assert find(tmp_path, *nodes) == [("read", "/e")]
