"""Prefixes of handles: no spelling of a handle leads around a rule for its prefix."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.trust.prefixes import matches_prefix, parse_prefix

MATCHING = {
    "https://models.example/": [
        "https://models.example/m/1",
        "https://models.example",
        "http://models.example/m/1",
        "https://MODELS.example/m/1",
        "HTTPS://models.example/m/1",
        "https://models.example:443/m/1",
        "http://models.example:80/m/1",
        "https://user:password@models.example/m/1",
        "https://models.example./m/1",
        "https://models.example//m/1",
        "https://models.example/m/1?token=x",
        "https://models.example/m/1#sha256=" + "0" * 64,
        " https://models.example/m/1 ",
    ],
    "https://models.example/team/": [
        "https://models.example/team/m/1",
        "https://models.example/team",
        "https://models.example//team/m/1",
        "https://models.example/./team/m/1",
        "https://models.example/other/../team/m/1",
        "https://models.example/%74eam/m/1",
        "https://models.example/%2574eam/m/1",
        "https://models.example/other/%2e%2e/team/m/1",
        "https://models.example/team%2fm/1",
    ],
    "https://models.example/team": ["https://models.example/team/m/1", "https://models.example/teams/m/1"],
    "kaggle://google/": [
        "kaggle://google/bert/tensorFlow2/base/1",
        "https://www.kaggle.com/models/google/bert/tensorFlow2/base/1",
        "https://kaggle.com/models/google/bert/frameworks/tensorFlow2/variations/base/versions/1",
        "https://www.kaggle.com/api/v1/models/google/bert/tensorFlow2/base/1/download",
    ],
    "https://www.kaggle.com/models/google/": ["kaggle://google/bert/tensorFlow2/base/1"],
    "hf://google/": [
        "hf://google/bert",
        "hf://google/bert@main/folder",
        "https://huggingface.co/google/bert",
        "https://hf.co/google/bert/tree/main",
    ],
    "https://huggingface.co/google/": ["hf://google/bert@v1"],
    "gs://bucket/models/": [
        "gs://bucket/models/1",
        "https://storage.googleapis.com/bucket/models/1.tar.gz",
        "https://bucket.storage.googleapis.com/models/1.tar.gz",
    ],
    "https://storage.googleapis.com/bucket/models/": ["gs://bucket/models/1", "gs://bucket/models"],
    "s3://bucket/": ["s3://bucket/m", "s3a://bucket/m", "https://bucket.s3.amazonaws.com/m.tar.gz"],
    "github://owner/": ["github://owner/repo@main", "github://owner/repo"],
}


@pytest.mark.parametrize(("prefix", "handle"), [(prefix, handle) for prefix in MATCHING for handle in MATCHING[prefix]])
def test_each_spelling_of_a_handle_matches(prefix: str, handle: str) -> None:
    assert matches_prefix(Handle.parse(handle), parse_prefix(prefix))


@pytest.mark.parametrize(
    ("prefix", "handle"),
    [
        ("https://models.example/", "https://models.example.org/m/1"),
        ("https://models.example/", "https://other.example/https://models.example/m/1"),
        ("https://models.example/", "https://models.example:8443/m/1"),
        ("https://models.example/team/", "https://models.example/teams/m/1"),
        ("https://models.example/team/", "https://models.example/team/../m/1"),
        ("https://models.example/", "/models.example/m"),
        ("https://models.example/", "models.example"),
        ("hf://google/", "hf://googles/bert"),
        ("gs://bucket/models/", "gs://other/models/1"),
    ],
)
def test_another_handle_does_not_match(prefix: str, handle: str) -> None:
    assert not matches_prefix(Handle.parse(handle), parse_prefix(prefix))


def test_paths_match_in_each_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "models" / "m"
    model.mkdir(parents=True)
    (tmp_path / "link").symlink_to(model)
    prefix = parse_prefix(f"{tmp_path}/models/")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELS", f"{tmp_path}/models")
    for handle in (
        model,
        "models/m",
        "./models/m",
        "models/../models/m",
        "link",
        f"file://{model}",
        f"/{model}",
        "$MODELS/m",
        "models",
    ):
        assert matches_prefix(Handle.parse(os.fspath(handle)), prefix), handle
    assert not matches_prefix(Handle.parse(f"{tmp_path}/other/m"), prefix)
    assert matches_prefix(Handle.parse("~/m"), parse_prefix("~/"))
    for text in ("/", "//", f"/{tmp_path}/models/", f"{tmp_path}//models/", f"{tmp_path}/models/../models/"):
        assert matches_prefix(Handle.parse(str(model)), parse_prefix(text)), text


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "models.example/", "models", "./models", 5, None, ["https://models.example/"], "https://models.example/ "),
        *("https://models.example", "https:///m", "https://user@models.example/", "https://models.example/m?x=1"),
        *("https://models.example/#x", "https://"),
    ],
)
def test_what_is_not_a_prefix_is_an_error(text: object) -> None:
    with pytest.raises(HandleError, match="prefix") as caught:
        parse_prefix(text)
    assert caught.value.fix
