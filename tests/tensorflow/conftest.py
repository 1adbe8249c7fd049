"""The models of these tests: each is saved once, and not changed afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import REAL
from tests.fakes.fork_server import ForkServer
from tests.tensorflow.cluster import OLDER, Cluster, workers
from tests.tensorflow.models import can_save_shards, save_line, save_tf1, save_words


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TF2 SavedModel of 2 x + 1."""
    return save_line(tmp_path_factory.mktemp("models") / "line")


@pytest.fixture(scope="session")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TF1 Hub module of x / 2 + 2, unpacked."""
    path = tmp_path_factory.mktemp("models") / "half_plus_two"
    shutil.unpack_archive(REAL, path, filter="data")
    return path


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    """A process that has imported TensorFlow, and forks those in which a test runs a snippet that imports it first."""
    with ForkServer("tensorflow") as server:
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, server: ForkServer) -> Iterator[Cluster]:
    """Workers, and models that they cannot see; of some they have older copies."""
    models = tmp_path_factory.mktemp("unseen")
    with workers(models, server=server) as cluster:
        save_line(models / "line")
        save_line(models / "moved")
        save_line(models / "shards", max_shard_bytes=4)
        save_words(models / "words")
        save_tf1(models / "tf1", vocabulary=True)
        save_tf1(models / "old_variables", references=True)
        save_tf1(models / "main_op", main_op=True)
        for name in ("half", "renewed"):
            shutil.unpack_archive(REAL, models / name, filter="data")
        assert all((models / name).exists() for name in OLDER)
        assert not can_save_shards() or len(list((models / "shards" / "variables").glob("variables.data-*"))) > 1
        yield cluster


@pytest.fixture
def rewritten(tmp_path: Path) -> Callable[..., Path]:
    """A function that copies a model, changes its graphs, and may save it in text form."""
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
