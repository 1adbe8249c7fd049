"""Tests of ``sources.hugging_face_repository``: looks up commits, and downloads and verifies files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import files_in
from tests.fakes.hugging_face import LARGE_BYTES, HuggingFace
from tfimm_resolver.errors import FetchError, NotFoundError
from tfimm_resolver.handles.hugging_face import HuggingFaceModel
from tfimm_resolver.sources.hugging_face_repository import Repository

FILES = {"saved_model.pb": b"a graph", "variables/data": b"w" * (LARGE_BYTES + 1), "other/x": b"x"}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFace]:
    """A fake of Hugging Face, set as HF_ENDPOINT."""
    with HuggingFace() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_a_branch_and_a_commit_are_looked_up(host: HuggingFace) -> None:
    commit = host.push("ada/models", FILES)
    assert Repository(HuggingFaceModel("ada", "models")).look_up_commit() == commit
    assert Repository(HuggingFaceModel("ada", "models", commit)).look_up_commit() == commit
    with pytest.raises(NotFoundError, match="no revision 'gone'"):
        Repository(HuggingFaceModel("ada", "models", "gone")).look_up_commit()


@pytest.mark.parametrize(
    ("folder", "expected"), [("", FILES), ("variables", {"data": FILES["variables/data"]}), ("other", {"x": b"x"})]
)
def test_the_files_below_a_folder_are_downloaded_and_their_parts_removed(
    folder: str, expected: dict[str, bytes], host: HuggingFace, tmp_path: Path
) -> None:
    model = HuggingFaceModel("ada", "models", host.push("ada/models", FILES), folder)
    (into := tmp_path / "into").mkdir()
    repository, reserved = Repository(model), list[int]()
    entries = repository.download(into, tmp_path / "parts", reserved.append)
    assert reserved == [sum(map(len, expected.values()))]
    assert files_in(into) == expected and not (tmp_path / "parts").exists()
    assert {entry.path: entry.size_bytes for entry in entries} == {name: len(data) for name, data in expected.items()}
    assert repository.origin.url.startswith(f"{host.url}/ada/models/tree/{model.revision}")


def test_a_folder_without_files_is_an_error_and_leaves_nothing(host: HuggingFace, tmp_path: Path) -> None:
    model = HuggingFaceModel("ada", "models", host.push("ada/models", FILES), "gone")
    (into := tmp_path / "into").mkdir()
    with pytest.raises(FetchError, match="gone"):
        Repository(model).download(into, tmp_path / "parts", lambda size_bytes: None)
    assert files_in(tmp_path / "into") == {} and not (tmp_path / "parts").exists()
