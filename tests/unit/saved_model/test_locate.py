"""Tests of ``saved_model.locate``: which SavedModel of a tree a handle stands for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL
from tests.fakes.named_models import put_model
from tfimm_resolver.saved_model import locate
from tfimm_resolver.saved_model.locate import FoundModels, find_models_in_list, find_models_on_disk

GRAPH = "saved_model.pb"


def below(*directories: str, **others: bytes) -> dict[str, bytes]:
    """Return the files of a model in each of the directories, and others."""
    return {f"{directory}/{name}": data for directory in directories for name, data in MODEL.items()} | others


TREES: dict[str, tuple[dict[str, bytes], str | None, str | None]] = {
    "the top": (MODEL, "", ""),
    "the top and deeper": (MODEL | below("1", "2"), "", ""),
    "Estimator": (below("export/Servo/1531"), "export/Servo/1531", "export/Servo/1531"),
    "SageMaker": (below("1") | {"code/inference.py": b""}, "1", "1"),
    "detection zoo": (
        below("NAME/saved_model") | {"NAME/checkpoint/ckpt-0.index": b"", "NAME/pipeline.config": b""},
        "NAME/saved_model",
        "NAME/saved_model",
    ),
    "text form": ({"a/saved_model.pbtxt": b""}, "a", "a"),
    "versions": (below("m/1", "m/2", "m/10"), None, "m/10"),
    "versions with zeros": (below("m/0001", "m/0010", "m/0009"), None, "m/0010"),
    "versions beside files": (below("1", "2") | {"models.config": b""}, None, "2"),
    "a very long version": (below("1", "9" * 90), None, "9" * 90),
    "an unfinished export": (below("m/1", "m/temp-2", "m/temp-b'3'"), "m/1", "m/1"),
    "the same version twice": (below("1", "01"), None, None),
    "two models": (below("a", "b"), None, None),
    "versions of two models": (below("a/1", "b/2"), None, None),
    "a version beside a name": (below("1", "best"), None, None),
    "at two depths": (below("1", "m/2"), None, None),
    "not a version": (below("m/v1", "m/v2"), None, None),
    "other digits": (below("m/١", "m/٢"), None, None),
    "a model in assets.extra": (below("m", "m/assets.extra/other"), "m", "m"),
    "a model in assets.extra of versions": (below("m/1", "m/2", "m/2/assets.extra/3"), None, "m/2"),
    "litter": (below("m", "__MACOSX/m", ".ipynb_checkpoints/m", "m/.hidden"), "m", "m"),
    "only hidden": (below(".git/m"), None, None),
    "no model": ({"model.tflite": b"", "x/y.txt": b"", "x/my_saved_model.pb": b""}, None, None),
    "nothing": ({}, None, None),
}


@pytest.mark.parametrize("name", TREES)
def test_a_tree_and_the_list_of_its_files_give_the_same_model(name: str, tmp_path: Path) -> None:
    files, only, newest = TREES[name]
    listed = find_models_in_list(files)
    (tmp_path / "m").mkdir()
    on_disk = find_models_on_disk(str(put_model(tmp_path / "m", files)))
    assert listed.directories == on_disk.directories and on_disk.is_complete
    assert (listed.only, listed.newest) == (on_disk.only, on_disk.newest) == (only, newest)


def test_a_directory_with_the_name_of_a_graph_is_not_a_graph(tmp_path: Path) -> None:
    put_model(tmp_path / "m", {f"{GRAPH}/x": b"", f"a/{GRAPH}/y": b"", f"b/{GRAPH}": b""})
    assert find_models_on_disk(str(tmp_path / "m")).directories == ("b",)


def test_links_to_directories_are_followed_once(tmp_path: Path) -> None:
    put_model(tmp_path / "m", below("1"))
    put_model(tmp_path / "elsewhere" / "2")
    for name, target in {"latest": "1", "loop": ".", "2": "../elsewhere/2", "broken": "gone"}.items():
        (tmp_path / "m" / name).symlink_to(target)
    assert find_models_on_disk(str(tmp_path / "m")).directories == ("1", "2")


def test_a_path_that_is_not_a_directory_has_no_models(tmp_path: Path) -> None:
    put_model(tmp_path, {"file": b""})
    for path in ("gone", "file"):
        assert find_models_on_disk(str(tmp_path / path)) == FoundModels(())


def test_the_search_is_bounded_in_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_model(tmp_path / "m", below("1") | {f"{number}/x": b"" for number in range(100, 120)})
    monkeypatch.setattr(locate, "MAX_DIRECTORIES", 10)
    found = find_models_on_disk(str(tmp_path / "m"))
    assert (found.directories, found.is_complete, found.only, found.newest) == (("1",), False, None, None)
    assert find_models_on_disk(str(put_model(tmp_path / "m"))).newest == ""


def test_the_search_is_bounded_in_depth(tmp_path: Path) -> None:
    deepest = "/".join("d" * locate.MAX_DEPTH)
    assert find_models_on_disk(str(put_model(tmp_path / "a", below(deepest)))).newest == deepest
    found = find_models_on_disk(str(put_model(tmp_path / "b", below("1", f"{deepest}/d"))))
    assert (found.directories, found.newest) == (("1",), None)


def test_a_directory_that_cannot_be_listed_counts_as_empty() -> None:
    assert locate.find_models(lambda _: (set(), [])) == FoundModels(())
    assert find_models_on_disk("a\0b" if os.name == "nt" else "/proc/self/fd/none") == FoundModels(())


def test_variables_without_a_graph_are_reported(tmp_path: Path) -> None:
    put_model(tmp_path / "m", below("1") | {"2/variables/variables.index": b""})
    assert find_models_on_disk(str(tmp_path / "m")).graphless == ("2",)
