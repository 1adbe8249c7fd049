"""Tests of ``saved_model.content``: what is missing is found without reading the weights, and nothing else is reported."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.checkpoints import make_entry, make_header, make_index
from tests.fakes.graphs import make_graph, make_meta_graph, make_node, make_object, make_variable, write_saved_model
from tfimm_resolver.inspection import summary
from tfimm_resolver.inspection.reading import inspect_directory
from tfimm_resolver.saved_model.checkpoint_index import INDEX_BYTES_MAX
from tfimm_resolver.saved_model.content import find_missing_content, find_missing_content_inside

DATA = "variables/variables.data-00000-of-00001"


def write(folder: Path) -> Path:
    """Write a complete model with weights of 40 bytes and an asset; returns its directory."""
    objects = [make_object({"v": 1}), make_variable((4,))]
    path = write_saved_model(folder / "m", make_meta_graph(objects=objects, assets=["v.txt"]), weights={"v": (4,), "w": (6,)})
    (path / "assets").mkdir()
    (path / "assets" / "v.txt").write_text("words")
    return path


def cut(path: Path, size_bytes: int) -> None:
    """Shorten a file."""
    os.truncate(path, size_bytes)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "data cut": (lambda m: cut(m / DATA, 39), f"{DATA} has 39 bytes, but its last tensor ends at byte 40"),
    "data empty": (lambda m: cut(m / DATA, 0), f"{DATA} has 0 bytes, but its last tensor ends at byte 40"),
    "data missing": (lambda m: (m / DATA).unlink(), f"{DATA} is missing"),
    "index missing": (lambda m: (m / "variables/variables.index").unlink(), "variables/variables.index is missing"),
    "index cut": (
        lambda m: cut(m / "variables/variables.index", 60),
        "variables/variables.index is damaged: its end is missing",
    ),
    "graph cut": (lambda m: cut(m / "saved_model.pb", 30), "saved_model.pb is damaged: field 2 has"),
    "graph missing": (lambda m: (m / "saved_model.pb").unlink(), "saved_model.pb is missing"),
    "asset missing": (lambda m: (m / "assets/v.txt").unlink(), "assets/v.txt is missing"),
    "variables missing": (lambda m: shutil.rmtree(m / "variables"), "variables is missing"),
    "variables emptied": (
        lambda m: [each.unlink() for each in (m / "variables").iterdir()],
        f"{DATA} is missing",
    ),
}


def test_a_complete_model_lacks_nothing(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert find_missing_content(str(path), is_strict=True) == [] == find_missing_content_inside(str(tmp_path))
    with open(path / DATA, "ab") as file:
        file.write(b"more")
    assert find_missing_content(str(path)) == []


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found(damage: str, tmp_path: Path) -> None:
    path = write(tmp_path)
    do, message = DAMAGE[damage]
    do(path)
    (found,) = find_missing_content(str(path))
    assert found.startswith(message)
    if damage != "graph missing":
        assert find_missing_content_inside(str(tmp_path)) == [f"m/{found}"]


def test_each_data_file_is_compared(tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "m")
    (path / "variables").mkdir()
    entries = {b"a": make_entry(1, [2], bytes(8)), b"b": make_entry(1, [2], bytes(8), shard=2, offset=4)}
    (path / "variables/variables.index").write_bytes(make_index(entries, header=make_header(3)))
    for number, size_bytes in enumerate((8, 0, 11)):
        (path / f"variables/variables.data-0000{number}-of-00003").write_bytes(bytes(size_bytes))
    name = "variables/variables.data-00002-of-00003"
    assert find_missing_content(str(path)) == [f"{name} has 11 bytes, but its last tensor ends at byte 12"]


def test_an_index_with_more_data_files_than_there_are(tmp_path: Path) -> None:
    path = write(tmp_path)
    (path / "variables/variables.index").write_bytes(make_index({}, header=make_header(2)))
    missing = [f"variables/variables.data-0000{number}-of-00002 is missing" for number in range(2)]
    assert find_missing_content(str(path)) == missing


def test_version_1_without_variables_has_an_empty_directory(tmp_path: Path) -> None:
    for op, missing in (("MatMul", 0), ("VariableV2", 1), ("VarHandleOp", 1)):
        path = write_saved_model(tmp_path / op, make_meta_graph(make_graph([make_node("a", op)])))
        (path / "variables").mkdir()
        assert len(find_missing_content(str(path))) == missing


def test_what_never_was_a_model_is_reported_only_if_asked(tmp_path: Path) -> None:
    path = write(tmp_path)
    (path / "saved_model.pb").write_bytes(b"a graph")
    (path / "variables/variables.index").write_bytes(b"an index")
    assert find_missing_content(str(path)) == []
    index, graph = find_missing_content(str(path), is_strict=True)
    assert index.startswith("variables/variables.index is damaged") and graph.startswith("saved_model.pb is damaged")


def test_another_format_of_the_graph_is_not_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path)
    (path / "saved_model.pb").rename(path / "saved_model.pbtxt")
    assert find_missing_content(str(path), is_strict=True) == []


@pytest.mark.parametrize("asset", ["a\0b", "x" * 300, "../v.txt"], ids=["zero", "long", "outside"])
def test_an_asset_whose_name_cannot_be_a_file_is_missing(asset: str, tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "m", make_meta_graph(assets=[asset]))
    assert find_missing_content(str(path)) == [f"assets/{asset} is missing"]


def test_an_index_that_is_too_large_to_be_read_is_not_reported(tmp_path: Path) -> None:
    path = write(tmp_path)
    os.truncate(path / "variables/variables.index", INDEX_BYTES_MAX + 1)
    assert find_missing_content(str(path), is_strict=True) == []
    found = inspect_directory(str(path), "m")
    assert found.weights is None and ("weights", "unknown") in summary.list_rows(found)


def test_the_list_has_an_end(tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "m", make_meta_graph(assets=map(str, range(150))))
    assert len(find_missing_content(str(path))) == 100 == len(find_missing_content_inside(str(tmp_path)))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = write(tmp_path)
    (path / "variables/variables.index").unlink()
    os.mkfifo(path / "variables/variables.index")
    assert find_missing_content(str(path)) == ["variables/variables.index is not a regular file"]
