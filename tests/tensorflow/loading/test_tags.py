"""Tests of ``loading.tags``: a MetaGraph is chosen by its tags, and the error lists the tags that there are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fakes.cli import run_cli
from tests.fakes.fork_server import ForkServer
from tests.tensorflow.models import save_tf1
from tfimm_resolver import load
from tfimm_resolver.errors import LoadError

tf = pytest.importorskip("tensorflow")


def put_model_with_tags(folder: Path, *tag_sets: list[str]) -> Path:
    """Write a SavedModel of TensorFlow 1 with a MetaGraph for each set of tags."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path = save_tf1(folder / "plain")
    saved = SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    graphs = []
    for tags in tag_sets:
        graphs.append(saved.meta_graphs[0].__deepcopy__())
        graphs[-1].meta_info_def.ClearField("tags")
        graphs[-1].meta_info_def.tags.extend(tags)
    del saved.meta_graphs[:]
    saved.meta_graphs.extend(graphs)
    shutil.copytree(path, folder / "m")
    (folder / "m/saved_model.pb").write_bytes(saved.SerializeToString())
    return folder / "m"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (None, "the SavedModel has 2 MetaGraphs, and tags choose one"),
        (["gpu"], "no MetaGraph of the SavedModel has just the tags 'gpu'"),
        (["serve", "x"], "no MetaGraph of the SavedModel has just the tags"),
        ([], r"no MetaGraph of the SavedModel has just the tags \(none\)"),
    ],
    ids=["none", "one of two", "another", "empty"],
)
def test_of_several_graphs_the_error_lists_the_tags(tags: list[str] | None, reason: str, tmp_path: Path) -> None:
    path = put_model_with_tags(tmp_path, ["serve"], ["serve", "gpu"])
    with pytest.raises(LoadError, match=reason) as caught:
        load(path, tags=tags)
    assert "\n  tags: serve\n  tags: gpu, serve" in caught.value.text
    assert caught.value.fix == "Pass the tags of one: load(handle, tags=['serve'])"
    assert caught.value.advice.command == "Pass the tags of one: --tags serve"
    for right in (["serve"], ["gpu", "serve"]):
        assert load(path, tags=right).signatures


def test_one_graph_is_loaded_whatever_its_tags_unless_others_are_asked_for(tmp_path: Path) -> None:
    path = put_model_with_tags(tmp_path, ["serve", "gpu"])
    assert load(path).signatures
    with pytest.raises(LoadError, match="no MetaGraph of the SavedModel has just the tags 'serve'") as caught:
        load(path, tags=["serve"])
    assert "tags=['gpu', 'serve']" in caught.value.fix


def test_a_graph_without_tags_is_named_so_that_a_shell_takes_it(tmp_path: Path) -> None:
    path = put_model_with_tags(tmp_path, [])
    with pytest.raises(LoadError, match=r"\n  tags: \(none\)") as caught:
        load(path, tags=["serve"])
    assert caught.value.advice.command == "Pass the tags of one: --tags ''"
    assert caught.value.fix == "Pass the tags of one: load(handle, tags=[])"
    assert load(path, tags=[]).signatures


def test_a_model_of_tensorflow_2_has_the_same_error(line: Path) -> None:
    with pytest.raises(LoadError, match="has just the tags 'gpu'\n  tags: serve"):
        load(line, tags=["gpu"])


def test_many_graphs_and_tags_of_others_do_not_fill_the_error(tmp_path: Path) -> None:
    path = put_model_with_tags(tmp_path, *(["serve", f"t{number:02}\x1b[31m"] for number in range(12)))
    with pytest.raises(LoadError, match="and 2 more") as caught:
        load(path)
    assert "t09" in str(caught.value) and "t10" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_the_command_takes_tags(tmp_path: Path, server: ForkServer) -> None:
    path = str(put_model_with_tags(tmp_path, ["serve"], ["serve", "gpu"]))
    code, _, err = run_cli("load", path, server=server)
    assert code == 5 and "tags: gpu, serve" in err and "--tags serve" in err
    code, out, _ = run_cli("load", path, "--tags", " serve , gpu ", server=server)
    assert code == 0 and out
