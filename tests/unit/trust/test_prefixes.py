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
        "https://models.example:/m/1",
        "http://models.example:080/m/1",
        "https://models.example:0443/m/1",
        "https://models.example.:00443/m/1",
        "https://m%6fdels.example/m/1",
        "https://ｍodels.example/m/1",
        "https://models。example/m/1",
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
        "https://bucket.storage.googleapis.com:0443/models/1.tar.gz",
        "https://storage.googleapis.com/download/storage/v1/b/bucket/o/models%2F1.tar.gz?alt=media",
        "https://www.googleapis.com/storage/v1/b/bucket/o/models%2F1.tar.gz?alt=media",
    ],
    "https://storage.googleapis.com/bucket/models/": ["gs://bucket/models/1", "gs://bucket/models"],
    "gcs://bucket/": ["gcs://bucket/m", "gs://bucket/m"],
    "s3n://bucket/": ["s3://bucket/m", "s3a://bucket/m"],
    "s3://bucket/": ["s3://bucket/m", "s3a://bucket/m", "https://bucket.s3.amazonaws.com/m.tar.gz"],
    "https://models.example:8733/": ["http://models.example:08733/m", "https://user@models.example:0008733/m"],
    "https://models.example:08733/": ["https://models.example:8733/m"],
    "https://models.example:0443/team/": ["https://models.example/team/m"],
    "https://127.0.0.1:8733/": ["http://127.1:8733/m", "http://0x7f000001:8733/m", "http://2130706433:8733/m"],
    "https://[::1]:8733/": ["http://[0:0:0:0:0:0:0:1]:08733/m"],
    "https://bücher.example/": ["https://xn--bcher-kva.example/m", "https://BÜCHER.example/m"],
    "github://owner/": [
        "github://owner/repo@main",
        "github://owner/repo",
        "github://Owner/repo:main",
        "https://github.com/OWNER/repo/releases/download/v1/m.tar.gz",
        "https://www.github.com/owner/repo/archive/main.tar.gz",
        "https://codeload.github.com/Owner/repo/tar.gz/main",
        "https://api.github.com/repos/owner/repo/tarball/main",
        "https://raw.githubusercontent.com/owner/repo/main/m.tar.gz",
    ],
    "https://github.com/Owner/Repo/": [
        "github://owner/repo:main",
        "github://owner/repo@main",
        "https://github.com/owner/repo.git/m.tar.gz",
        "https://codeload.github.com/owner/repo/tar.gz/main",
    ],
    "https://github.com/": ["github://owner/repo", "https://codeload.github.com/owner/repo/tar.gz/main"],
    "https://api.github.com/": ["https://api.github.com/repos/owner/repo/tarball/main", "https://api.github.com/x"],
    "https://codeload.github.com/owner/": ["https://github.com/owner/repo/m.tar.gz"],
    "hf://google/Bert/": ["hf://Google/bert@v1", "hf://google/BERT@v1/folder", "https://www.huggingface.co/google/bert/x"],
    "hf://google/bert/Folder/": ["hf://google/bert@v1/Folder", "https://huggingface.co/google/bert/tree/v1/Folder"],
    "https://huggingface.co/Google/": ["https://huggingface.co/api/models/google/bert", "hf://google/bert"],
    "kaggle://Google/BERT/": [
        "kaggle://google/bert/tensorFlow2/base/1",
        "https://kaggle.com/api/v1/models/GOOGLE/bert/tensorFlow2/base/1/download",
    ],
    "kaggle://google/bert/tensor-flow-2/Base/": ["kaggle://google/bert/TensorFlow2/base/1"],
    "https://tfhub.dev/google/": ["https://www.tfhub.dev/google/nnlm/2"],
    "https://www.tfhub.dev/google/": ["https://tfhub.dev/google/nnlm/2"],
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
        ("https://models.example:8733/", "https://models.example/m"),
        ("https://models.example:8733/", "https://models.example:87330/m"),
        ("https://127.0.0.1/", "https://127.0.0.1.example/m"),
        ("hf://google/", "hf://googles/bert"),
        ("hf://google/bert/folder/", "hf://google/bert/Folder"),
        ("github://owner/repo/", "github://owner/repo2:main"),
        ("kaggle://google/bert/tensorFlow2/base/1", "kaggle://google/bert/tensorFlow2/base/2"),
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
