"""Tests of ``loading.known_failures``: failures of TensorFlow whose cause is known."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.archives import MODEL
from tests.fakes.foreign_files import POINTER
from tests.fakes.graphs import write_saved_model
from tests.fakes.named_models import put_model
from tfimm_resolver.errors import DamagedModelError
from tfimm_resolver.loading.known_failures import explain


def test_a_saved_optimizer_is_explained(tmp_path: Path) -> None:
    text = "'_UserObject' object has no attribute 'add_slot'"
    error = explain(str(put_model(tmp_path / "m")), text, f"AttributeError: {text}")
    assert error is not None and "the state of its optimizer" in error.text and text in error.text
    for advice in (error.advice.python, error.advice.command):
        assert "tf_keras" in advice and "TFSMLayer" in advice


def test_pointers_of_git_lfs_are_named(tmp_path: Path) -> None:
    shards = {f"variables/variables.data-{number:05}-of-00007": POINTER for number in range(7)}
    error = explain(str(put_model(tmp_path / "m", {**MODEL, "saved_model.pb": POINTER, **shards})), "a parse error", "")
    assert error is not None and "saved_model.pb, variables/variables.data-00000-of-00007" in error.text
    assert "and 3 more: a Git LFS pointer" in error.text and "git lfs pull" in error.fix and "hf://" in error.fix


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "m", weights={"v": (4,)})
    data = path / "variables/variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    error = explain(str(path), "a parse error", "OpError: a parse error")
    assert (
        isinstance(error, DamagedModelError) and "OpError: a parse error\n  the model is damaged or incomplete: " in error.text
    )
    assert "has 15 bytes, but its last tensor ends at byte 16" in error.text and "refresh" in error.fix
    data.write_bytes(POINTER)
    error = explain(str(path), "a parse error", "")
    assert error is not None and "a Git LFS pointer" in error.text


def test_other_failures_are_not_explained(tmp_path: Path) -> None:
    assert explain(str(write_saved_model(tmp_path / "m")), "a parse error", "a parse error") is None
    assert explain("gs://bucket/m", "a parse error", "a parse error") is None
