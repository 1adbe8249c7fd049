"""Spellings of models on Hugging Face."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.hugging_face import HuggingFaceModel

COMMIT = "0123456789abcdef" * 2 + "01234567"


def parse(handle: str) -> HuggingFaceModel | None:
    """Parse a handle."""
    parts = urlsplit(handle)
    return HuggingFaceModel.parse(parts.scheme, parts.netloc, parts.path)


@pytest.mark.parametrize(
    ("handle", "model"),
    [
        ("hf://ada/lion", HuggingFaceModel("ada", "lion")),
        ("hf://ada/lion/", HuggingFaceModel("ada", "lion")),
        ("hf://ada/lion@main", HuggingFaceModel("ada", "lion")),
        ("hf://ada/lion@v1", HuggingFaceModel("ada", "lion", "v1")),
        ("hf://ada/lion@dev%2Fx/a/b", HuggingFaceModel("ada", "lion", "dev/x", "a/b")),
        ("hf://ada/lion@refs/pr/7/a", HuggingFaceModel("ada", "lion", "refs/pr/7", "a")),
        ("hf://ada/lion/a b/c", HuggingFaceModel("ada", "lion", "", "a b/c")),
        (f"hf://ada/lion@{COMMIT.upper()}", HuggingFaceModel("ada", "lion", COMMIT)),
        ("https://huggingface.co/ada/lion", HuggingFaceModel("ada", "lion")),
        ("https://hf.co/ada/lion/tree/main/a%20b", HuggingFaceModel("ada", "lion", "", "a b")),
        ("https://huggingface.co/ada/lion/tree/refs/pr/7/a", HuggingFaceModel("ada", "lion", "refs/pr/7", "a")),
        ("https://huggingface.co/ada/lion/tree/dev%2Fx", HuggingFaceModel("ada", "lion", "dev/x")),
    ],
)
def test_a_handle_names_a_folder_at_a_revision(handle: str, model: HuggingFaceModel) -> None:
    assert parse(handle) == model


@pytest.mark.parametrize("revision", ["", "v1", "dev/x", "refs/pr/7", COMMIT])
@pytest.mark.parametrize("folder", ["", "a b/c"])
def test_the_key_names_the_same_model(revision: str, folder: str) -> None:
    model = HuggingFaceModel("ada", "lion", revision, folder)
    assert parse(model.key) == model


def test_only_a_full_commit_can_never_change() -> None:
    model = HuggingFaceModel("ada", "lion", "v1", "a")
    assert not model.is_immutable and not model.with_revision(COMMIT[:-1]).is_immutable
    fixed = model.with_revision(COMMIT)
    assert fixed.is_immutable and (fixed.repository, fixed.folder) == ("ada/lion", "a")


@pytest.mark.parametrize(
    "handle",
    [
        "hf://ada",
        "hf://ada/",
        "hf://ada/lion@",
        "hf://ada/lion@a..b",
        "hf://ada/lion/../x",
        "hf://ada/lion/a//b",
        "hf://ada/lion/a\\b",
        "hf://ada/li--on",
        "hf://ada/.lion",
        f"hf://ada/{'x' * 97}",
        "hf://datasets/ada",
        "https://huggingface.co/ada/lion/tree/v1/../x",
        "https://huggingface.co/ada/lion/tree/v1/%2e%2e/x",
    ],
)
def test_a_malformed_handle_is_an_error_that_quotes_it_and_shows_the_form(handle: str) -> None:
    with pytest.raises(HandleError) as caught:
        parse(handle)
    assert "does not name a model on Hugging Face" in caught.value.text and "hf://OWNER/MODEL" in caught.value.fix


@pytest.mark.parametrize(
    "handle",
    [
        "kaggle://ada/lion/keras/v",
        "https://huggingface.co/datasets/ada",
        "https://huggingface.co/ada/lion/resolve/main/model.tar.gz",
        "https://huggingface.co/ada",
        "https://huggingface.co.example/ada/lion",
    ],
)
def test_other_handles_are_left_to_others(handle: str) -> None:
    assert parse(handle) is None
