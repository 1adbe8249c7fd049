"""Spellings of models on Kaggle."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.kaggle import KaggleModel, framework_key


def parse(handle: str) -> KaggleModel | None:
    """Parse a handle."""
    parts = urlsplit(handle)
    return KaggleModel.parse(parts.scheme, parts.netloc, parts.path)


MODEL = KaggleModel("google", "yamnet", "tensorFlow2", "yam.net-1_x", 3)


@pytest.mark.parametrize(
    "handle",
    [
        "kaggle://google/yamnet/tensorFlow2/yam.net-1_x/3",
        "kaggle://google/yamnet/tensorflow-2/yam.net-1_x/003",
        "kaggle://google/yamnet/TENSORFLOW_2/yam.net-1_x/3",
        "https://www.kaggle.com/models/google/yamnet/tensorFlow2/yam.net-1_x/3",
        "https://kaggle.com/models/google/yamnet/tensorFlow2/yam.net-1_x/3",
        "https://www.kaggle.com/models/google/yamnet/frameworks/TensorFlow2/variations/yam.net-1_x/versions/3",
        "https://www.kaggle.com/api/v1/models/google/yamnet/tensorFlow2/yam.net-1_x/3/download",
    ],
)
def test_all_spellings_name_the_same_model(handle: str) -> None:
    assert parse(handle) == MODEL


def test_without_a_version_the_model_is_the_newest_one() -> None:
    model = parse("kaggle://google/yamnet/keras/small")
    assert model is not None and model.version is None
    assert model.key == "https://www.kaggle.com/models/google/yamnet/keras/small"
    assert model.with_version(12).path == "google/yamnet/keras/small/12"


def test_the_key_is_a_page_that_names_the_same_model() -> None:
    assert parse(MODEL.key) == MODEL


def test_an_unknown_framework_keeps_its_spelling() -> None:
    model = parse("kaggle://o/m/New_Frame-work/v")
    assert model is not None and model.framework == "New_Frame-work" and framework_key(model.framework) == "newframework"


@pytest.mark.parametrize(
    "handle",
    [
        "kaggle://google",
        "kaggle://google/yamnet/tensorFlow2",
        "kaggle://google/yamnet/tensorFlow2/v/3/4",
        "kaggle://google/yamnet/tensorFlow2/v/0",
        "kaggle://google/yamnet/tensorFlow2/v/-1",
        "kaggle://google/yamnet/tensorFlow2/v/new",
        "kaggle://google/yamnet/tensorFlow2/v/",
        "kaggle://google/../tensorFlow2/v",
        "kaggle://google/yamnet/frameworks/tensorFlow2",
        "https://www.kaggle.com/models",
        "https://www.kaggle.com/models/google/yamnet",
    ],
)
def test_a_malformed_handle_is_an_error_that_quotes_it_and_shows_the_form(handle: str) -> None:
    with pytest.raises(HandleError) as caught:
        parse(handle)
    assert f'"{handle}"' in caught.value.text and "kaggle://OWNER/MODEL" in caught.value.fix


@pytest.mark.parametrize(
    "handle",
    [
        "hf://google/yamnet",
        "https://www.kaggle.com/datasets/google/yamnet",
        "https://www.kaggle.com/modelsearch/a/b/c/d",
        "https://kaggle.com.example/models/google/yamnet/tensorFlow2/v",
    ],
)
def test_other_handles_are_left_to_others(handle: str) -> None:
    assert parse(handle) is None
