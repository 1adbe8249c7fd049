"""Tests of the examples in README.md and docs/ that need TensorFlow; ``tests/integration/test_examples.py`` has the others."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from tests.fakes.fork_server import ForkServer
from tests.fakes.pages import Block, read_all_blocks
from tests.fakes.reader import check_block, make_reader, serve_for
from tests.fakes.saved_models import make_half_plus_two

HEAVY = [block for block in read_all_blocks() if block.is_run and block.needs_tensorflow]


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The archive of a TF2 SavedModel, which stands for every model."""
    return make_half_plus_two(tmp_path_factory.mktemp("saved"))


def test_blocks_are_found() -> None:
    assert any(block.is_program for block in HEAVY) and any(block.is_transcript for block in HEAVY)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("block", HEAVY, ids=lambda block: f"{block.page}:{block.line}")
def test_an_example_runs_and_leaves_the_reader_s_files(
    block: Block, archive: bytes, server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "TFSMLayer" in block.text and version("keras") < "3":
        pytest.skip("TensorFlow 2.15 comes with Keras 2")
    reader = make_reader(tmp_path)
    reader.environment["PYTHONDONTWRITEBYTECODE"] = "1"  # else TensorFlow leaves that of functions it has generated
    with serve_for(block, reader, archive, tmp_path) as served:
        monkeypatch.chdir(reader.project)
        check_block(served, reader, lambda code: f"{server.run(code, **reader.environment)}\n")
