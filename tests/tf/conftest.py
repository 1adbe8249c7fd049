"""The models of these tests: each is saved once, and nobody changes it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.archives import REAL
from tests.tf.models import save_line


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TF2 SavedModel of 2 x + 1."""
    return save_line(tmp_path_factory.mktemp("models") / "line")


@pytest.fixture(scope="session")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TF1 Hub module of x / 2 + 2, unpacked."""
    path = tmp_path_factory.mktemp("models") / "half_plus_two"
    shutil.unpack_archive(REAL, path)
    return path


@pytest.fixture
def rewritten(tmp_path: Path) -> Callable[..., Path]:
    """Makes a copy of a model whose graphs somebody may change, and which may be in text form."""
    from google.protobuf import text_format
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    def rewrite(model: Path, change: Callable[[Any], None] = lambda _: None, *, text: bool = False) -> Path:
        copy = Path(shutil.copytree(model, tmp_path / f"{model.name} rewritten"))
        saved = SavedModel.FromString((copy / "saved_model.pb").read_bytes())
        change(saved)
        (copy / "saved_model.pb").unlink()
        if text:
            (copy / "saved_model.pbtxt").write_text(text_format.MessageToString(saved))
        else:
            (copy / "saved_model.pb").write_bytes(saved.SerializeToString())
        return copy

    return rewrite
