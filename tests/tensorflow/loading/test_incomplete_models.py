"""``load`` says what an incomplete model lacks, or which packages it needs; what is missing may not be needed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tensorflow.models import save_words
from tfimm_resolver import load
from tfimm_resolver.errors import DamagedModelError, MissingOpError

tf = pytest.importorskip("tensorflow")

DATA = "variables/variables.data-00000-of-00001"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: os.truncate(path / DATA, 3), f"{DATA} has 3 bytes, but its last tensor ends at byte"),
        (lambda path: (path / DATA).unlink(), f"{DATA} is missing"),
        (lambda path: os.truncate(path / "variables/variables.index", 60), "variables.index is damaged: its end is missing"),
        (lambda path: os.truncate(path / "saved_model.pb", 300), "saved_model.pb is damaged: field 2 has"),
        (lambda path: shutil.rmtree(path / "variables"), "variables is missing"),
    ],
    ids=["data cut", "data missing", "index cut", "graph cut", "variables missing"],
)
def test_what_is_missing_is_named(damage: Callable[[Path], object], message: str, line: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(line, tmp_path / "m"))
    damage(path)
    with pytest.raises(
        DamagedModelError, match=r"TensorFlow cannot load .*\n  the model is damaged or incomplete: "
    ) as caught:
        load(path)
    assert message in caught.value.text and "refresh" in caught.value.fix


def test_a_missing_asset_is_named(tmp_path: Path) -> None:
    path = save_words(tmp_path / "m")
    (path / "assets" / "m.txt").unlink()
    with pytest.raises(DamagedModelError, match=r"assets/m\.txt is missing"):
        load(path)


def test_a_missing_file_that_is_not_needed_is_no_error(tmp_path: Path) -> None:
    path = save_words(tmp_path / "m")
    (path / "assets" / "m.motto").unlink()
    assert load(path) is not None


def test_every_package_that_is_needed_is_named(line: Path, rewritten: Callable[..., Path]) -> None:
    def add_ops(saved: Any) -> None:
        functions = saved.meta_graphs[0].graph_def.library.function
        for node, op in zip(functions[0].node_def, ("CaseFoldUTF8", "IO>DecodeAvro"), strict=False):
            node.op = op

    with pytest.raises(MissingOpError, match="needs tensorflow-io, tensorflow-text") as caught:
        load(rewritten(line, add_ops))
    assert "pip install tensorflow-io tensorflow-text" in caught.value.fix
