"""Tests of ``inspection.reading`` for directories, and for files that are damaged; those that are fetched are elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.checkpoints import encode_message
from tests.fakes.graphs import make_meta_graph, make_object, make_variable, write_saved_model
from tfimm_resolver.errors import DamagedModelError, LoadError, NotASavedModelError
from tfimm_resolver.inspection.reading import inspect, inspect_directory


def test_a_model_in_a_directory(tmp_path: Path) -> None:
    graph = make_meta_graph(objects=[make_object({"v": 1}), make_variable((3,))])
    path = write_saved_model(tmp_path / "m", graph, weights={"v": (3,)})
    (path / "fingerprint.pb").write_bytes(encode_message([(7, b"12")]))
    found = inspect(path)
    assert (found.handle, found.path, found.format, found.graph_file) == (
        str(path),
        str(path),
        "TensorFlow 2",
        "saved_model.pb",
    )
    assert (found.parameters, found.trainable_parameters, found.is_complete, found.is_parsed) == (3, 3, True, True)
    assert found.weights is not None and [tensor.name for tensor in found.weights.tensors] == ["v"]
    assert found.fingerprint is not None and found.fingerprint.uuid == "12"
    names = ["fingerprint.pb", "saved_model.pb", "variables/variables.data-00000-of-00001", "variables/variables.index"]
    assert [file.path for file in found.files] == names
    assert found.size_bytes == sum((path / name).stat().st_size for name in names)


def test_the_newest_version_is_looked_into(tmp_path: Path) -> None:
    for version in ("1", "10"):
        write_saved_model(tmp_path / version)
    assert inspect(tmp_path).path == str(tmp_path / "10")
    assert inspect(f"{tmp_path}#subdirectory=1").path == str(tmp_path / "1")


@pytest.mark.parametrize("name", ["saved_model.pbtxt", "saved_model.cpb"])
def test_another_format_is_reported_and_the_rest_is_read(name: str, tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "m", weights={"v": (3,)})
    (path / "saved_model.pb").rename(path / name)
    found = inspect(path)
    assert (found.graph_file, found.format, found.is_parsed, found.meta_graphs) == (name, "", False, ())
    assert found.parameters == 3 and found.trainable_parameters is None and found.is_complete


@pytest.mark.parametrize(
    ("objects", "files", "kind"),
    [
        (False, [], "TensorFlow 1"),
        (False, ["tfhub_module.pb"], "TF1 Hub module"),
        (True, ["tfhub_module.pb"], "TensorFlow 2"),
        (True, ["keras_metadata.pb"], "Keras 2"),
    ],
    ids=["1", "hub", "2", "keras"],
)
def test_formats(objects: bool, files: list[str], kind: str, tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "m", make_meta_graph(objects=[make_object()] * objects))
    for file in files:
        (path / file).write_bytes(b"")
    assert inspect(path).format == kind


def test_damaged_weights_are_listed_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "m", weights={"v": (3,)})
    (path / "variables/variables.index").write_bytes(b"an index")
    found = inspect(path)
    assert found.weights is None and found.parameters is None and not found.is_complete
    assert found.missing[0].startswith("variables/variables.index is damaged: its end is missing")


@pytest.mark.parametrize("data", [b"", b"a graph", b"\x08\x01", b"\x08\x01\x12\x7f\x0a"], ids=["empty", "text", "none", "cut"])
def test_a_damaged_graph_is_an_error(data: bytes, tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "m")
    (path / "saved_model.pb").write_bytes(data)
    with pytest.raises(DamagedModelError, match=r"saved_model\.pb is damaged, or is not the graph of a SavedModel") as caught:
        inspect(path)
    assert "refresh" in caught.value.fix and caught.value.fix.startswith("Copy or save a directory of your own")


def test_what_is_not_a_model_is_an_error(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "m.h5").write_bytes(b"x")
    with pytest.raises(NotASavedModelError, match=r"it contains: m\.h5"):
        inspect(top)
    for name in "ab":
        write_saved_model(top / name)
    with pytest.raises(NotASavedModelError, match="more than one SavedModel"):
        inspect(top)
    with pytest.raises(LoadError, match="is in a bucket"):
        inspect_directory("gs://bucket/m", "gs://bucket/m")


def test_special_files_are_errors_or_are_left_out(tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "m")
    (path / "broken").symlink_to("nowhere")
    assert [file.size_bytes for file in inspect(path).files if file.path == "broken"] == [None]
    (path / "saved_model.pb").rename(tmp_path / "graph")
    (path / "saved_model.pb").symlink_to(tmp_path / "graph")
    assert inspect(path).format == "TensorFlow 1"
    for make in (os.mkfifo, lambda file: os.symlink(file, file), os.mkdir):
        (path / "saved_model.pb").unlink()
        make(path / "saved_model.pb")
        with pytest.raises(LoadError, match=r"saved_model.pb cannot be read: |is not a SavedModel"):
            inspect_directory(str(path), "m")
