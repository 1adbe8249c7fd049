"""Failures of TensorFlow itself that are explained: a saved optimizer, Git LFS pointers, folders of weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fakes.foreign_files import POINTER
from tests.fakes.named_models import put_model
from tfimm_resolver import load
from tfimm_resolver.errors import LoadError, NotASavedModelError

tf = pytest.importorskip("tensorflow")


def test_slots_of_an_optimizer_that_is_not_restored(tmp_path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    module = tf.Module()
    module.weight, module.momentum, module.optimizer = tf.Variable(1.0), tf.Variable(2.0), tf.Module()
    tf.saved_model.save(module, str(tmp_path / "m"))
    file = tmp_path / "m/saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    nodes = saved.meta_graphs[0].object_graph_def.nodes
    number = {child.local_name: child.node_id for child in nodes[0].children}
    nodes[number["optimizer"]].slot_variables.add(
        original_variable_node_id=number["weight"], slot_name="momentum", slot_variable_node_id=number["momentum"]
    )
    file.write_bytes(saved.SerializeToString())
    with pytest.raises(LoadError, match="'_UserObject' object has no attribute 'add_slot'") as caught:
        load(tmp_path / "m")
    assert "tf_keras" in caught.value.fix and "the state of its optimizer" in caught.value.text


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.data-00000-of-00001", "variables/variables.index"])
def test_a_pointer_of_git_lfs_in_the_model_is_named(name: str, line: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(line, tmp_path / "m"))
    (model / name).write_bytes(POINTER)
    with pytest.raises(LoadError, match=f"{name}: a Git LFS pointer") as caught:
        load(model)
    assert "git lfs pull" in caught.value.fix


def test_a_folder_without_a_saved_model_says_what_it_has(tmp_path: Path) -> None:
    for number, (name, fix) in enumerate(
        (("m.keras", "load_saved_model_from_url"), ("m.safetensors", "load_state_dict_from_url"))
    ):
        path = put_model(tmp_path / str(number), {name: b"x", "README.md": b"x"})
        with pytest.raises(NotASavedModelError, match=f"{name} is a ") as caught:
            load(path)
        assert fix in caught.value.fix
    with pytest.raises(NotASavedModelError) as caught:
        load(put_model(tmp_path / "other", {"README.md": b"x"}))
    assert caught.value.fix == "Give the directory that has one of these files, or the handle of another model."
