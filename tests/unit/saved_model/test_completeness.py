"""Tests of ``saved_model.completeness``: which directories are complete SavedModels."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL
from tests.fakes.named_models import put_model
from tfimm_resolver.saved_model.completeness import find_defect, find_defect_inside

GRAPH = {"saved_model.pb": b"a graph"}
INDEX = {"variables/variables.index": b""}
SHARDS = {f"variables/variables.data-0000{number}-of-00002": b"" for number in range(2)}


@pytest.mark.parametrize(
    "files", [MODEL, GRAPH, {"saved_model.pbtxt": b""}, {"saved_model.cpb": b""}, GRAPH | INDEX | SHARDS, MODEL | {"x": b""}]
)
def test_a_complete_model_has_no_defect(files: dict[str, bytes], tmp_path: Path) -> None:
    assert find_defect(str(put_model(tmp_path / "m", files))) is None


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        (INDEX | SHARDS, "saved_model.pb"),
        (GRAPH | SHARDS, "variables/variables.index"),
        (GRAPH | INDEX, "variables/variables.data-00000-of-00001"),
        (
            GRAPH | INDEX | {"variables/variables.data-00000-of-00002": b""},
            "variables/variables.data-00001-of-00002",
        ),
    ],
)
def test_the_first_missing_file_is_named(files: dict[str, bytes], missing: str, tmp_path: Path) -> None:
    assert find_defect(str(put_model(tmp_path / "m", files))) == f"{missing} is missing"


def test_what_is_not_a_directory_is_a_defect_and_not_an_exception(tmp_path: Path) -> None:
    file = put_model(tmp_path / "m", GRAPH | {"variables": b"a file"})
    for path in (str(tmp_path / "gone"), str(file / "saved_model.pb"), str(file)):
        assert "no such directory" in (find_defect(path) or ""), path
    assert find_defect("a\0b") is not None


@pytest.mark.parametrize(
    ("files", "defect"),
    [
        (MODEL, None),
        ({}, "saved_model.pb is missing"),
        ({"model.tflite": b""}, "saved_model.pb is missing"),
        ({"a/1/saved_model.pb": b"", "b/x": b""}, None),
        ({f"{version}/{name}": data for version in "12" for name, data in MODEL.items()}, None),
        (
            {"1/saved_model.pb": b"", "2/saved_model.pb": b"", **{f"2/{name}": b"" for name in INDEX}},
            "2: variables/",
        ),
        ({"1/saved_model.pb": b"", "2/variables/variables.index": b""}, "2/saved_model.pb is missing"),
        ({"1/saved_model.pb": b"", "variables/variables.index": b""}, "saved_model.pb is missing"),
        (GRAPH | INDEX | {"1/saved_model.pb": b""}, "variables/variables.d"),
    ],
)
def test_a_tree_without_a_record_may_contain_complete_models_deeper_inside(
    files: dict[str, bytes], defect: str | None, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    found = find_defect_inside(str(put_model(tmp_path / "m", files)))
    assert found is None if defect is None else (found or "").startswith(defect)
    assert find_defect_inside(str(tmp_path / "gone")) is not None


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00001-of-00002"])
@pytest.mark.parametrize(
    "make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("gone")], ids=["pipe", "directory", "link"]
)
def test_what_is_not_a_regular_file_is_a_defect(name: str, make: Callable[[Path], object], tmp_path: Path) -> None:
    tree = put_model(tmp_path / "m", GRAPH | INDEX | SHARDS)
    (tree / name).unlink()
    make(tree / name)
    assert find_defect(str(tree)) == find_defect_inside(str(tree)) == f"{name} is not a regular file"


@pytest.mark.timeout(20)
def test_many_kinds_of_shards_take_no_longer_than_there_are_files(tmp_path: Path) -> None:
    shards = {f"variables/variables.data-00000-of-{99_999 - number}": b"" for number in range(2000)}
    before = time.process_time()
    assert find_defect(str(put_model(tmp_path / "m", GRAPH | INDEX | shards))) == (
        "variables/variables.data-00001-of-98000 is missing"
    )
    assert time.process_time() - before < 5
