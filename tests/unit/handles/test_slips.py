"""Tests of ``handles.slips``: what was probably meant by a text that leads to no model."""

from __future__ import annotations

import pytest

from tfimm_resolver.handles.slips import is_windows_path, suggest_handles

SLIPS = {
    "google/nnlm/2": "https://tfhub.dev/google/nnlm/2",
    "google/imagenet/mobilenet_v2_100_224/classification/5": "https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/classification/5",
    "tfhub.dev/google/nnlm/2": "https://tfhub.dev/google/nnlm/2",
    "www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50/1": "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50/1",
    "huggingface.co/ada/m": "hf://ada/m",
    "www.huggingface.co/ada/m": "hf://ada/m",
    "github.com/ada/m.git": "github://ada/m",
    "models.example.org/m.tar.gz": "https://models.example.org/m.tar.gz",
    "localhost:8000/m.tar.gz": "http://localhost:8000/m.tar.gz",
    "127.0.0.1:8000/m.tar.gz": "http://127.0.0.1:8000/m.tar.gz",
    "//models.example.org/m.tar.gz": "https://models.example.org/m.tar.gz",
    "google/nnlm/tensorFlow2/en-dim50": "kaggle://google/nnlm/tensorFlow2/en-dim50",
    "google/nnlm/TensorFlow2/en-dim50/3": "kaggle://google/nnlm/TensorFlow2/en-dim50/3",
    "models/google/nnlm/tensorFlow2/en-dim50": "kaggle://google/nnlm/tensorFlow2/en-dim50",
    "hf:ada/m": "hf://ada/m",
    "hf:m": "hf://OWNER/m",
    "hf-hub:resnet18": "hf://timm/resnet18",
    "hf:/ada/m": "hf://ada/m",
    "hf-hub:timm/resnet18": "hf://timm/resnet18",
    "hf_hub:timm/resnet18": "hf://timm/resnet18",
    "timm/resnet18": "hf://timm/resnet18",
    "local-dir:/data/m": "/data/m",
    "local-dir:///data/m": "/data/m",
    "local-dir:models/m": "models/m",
    "http:/models.example/m": "http://models.example/m",
    "https//models.example/m": "https://models.example/m",
    "https:models.example/m": "https://models.example/m",
    "https;//models.example/m": "https://models.example/m",
    r"http:\\models.example\m": "http://models.example/m",
    "gs:/bucket/m": "gs://bucket/m",
    "file:/data/m": "/data/m",
    "file:m": "m",
    "github:ada/m": "github://ada/m",
    "kaggle:google/nnlm/tensorFlow2/x": "kaggle://google/nnlm/tensorFlow2/x",
    "git@github.com:ada/m.git": "github://ada/m",
    "git+https://github.com/ada/m.git@v1": "github://ada/m:v1",
    "ssh://git@git.example/ada/m.git": "github://git.example/ada/m",
    "pytorch/vision:v0.10.0": "github://pytorch/vision:v0.10.0",
    "ada/m": "hf://ada/m",
    '"https://models.example/m"': "https://models.example/m",
    "'resnet18'": "resnet18",
    "<https://models.example/m>": "https://models.example/m",
    "`m`": "m",
    "(m)": "m",
    "\u201cm\u201d": "m",
    '"https://models.example/m': "https://models.example/m",
    "'hf:ada/m'": "hf://ada/m",
}


@pytest.mark.parametrize("text", SLIPS)
def test_what_was_meant_comes_first(text: str) -> None:
    assert suggest_handles(text)[0] == SLIPS[text]


@pytest.mark.parametrize(
    "text",
    ["resnet18", "./models/m", "../m", "/data/m", "/data/models/1", "~/m", "a/b/c", "C:\\m", "''", "vit.augreg", "a b/c"],
)
def test_other_texts_lead_to_no_suggestion(text: str) -> None:
    assert suggest_handles(text) == []


def test_a_pair_may_be_a_repository_of_two_hosts() -> None:
    assert suggest_handles("ada/m") == ["hf://ada/m", "github://ada/m"]


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("C:\\models\\m", True),
        ("d:/models", True),
        ("\\\\server\\share\\m", True),
        ("m", False),
        ("hf:m", False),
        ("/c/m", False),
    ],
)
def test_paths_of_windows_are_known(text: str, is_path: bool) -> None:
    assert is_windows_path(text) is is_path
