"""The key that all spellings of a model share."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tfimm_resolver.handles.canonical import canonical_key


def find_key(handle: str) -> str | None:
    """Return the key of a handle."""
    parts = urlsplit(handle)
    return canonical_key(parts.scheme, parts.netloc, parts.path)


@pytest.mark.parametrize(
    ("spelling", "other"),
    [
        ("kaggle://o/m/tensorflow2/v", "https://kaggle.com/models/o/m/frameworks/TensorFlow2/variations/v"),
        ("hf://ada/lion@v1/a", "https://hf.co/ada/lion/tree/v1/a"),
        ("hf://ada/lion", "hf://ada/lion@main"),
    ],
)
def test_two_spellings_share_a_key(spelling: str, other: str) -> None:
    key = find_key(spelling)
    assert key is not None and key == find_key(other) == find_key(key)


@pytest.mark.parametrize(
    ("handle", "other"),
    [
        ("kaggle://o/m/keras/v/1", "kaggle://o/m/keras/v/2"),
        ("kaggle://o/m/keras/v", "kaggle://O/m/keras/v"),
        ("hf://ada/lion@v1", "hf://ada/lion@v2"),
        ("hf://ada/lion/a", "hf://ada/lion/b"),
    ],
)
def test_two_models_have_two_keys(handle: str, other: str) -> None:
    assert None not in (find_key(handle), find_key(other)) and find_key(handle) != find_key(other)


@pytest.mark.parametrize("handle", ["https://models.example/m.tar.gz", "kaggle://o", "hf://ada", "lion", ""])
def test_other_and_malformed_handles_have_none(handle: str) -> None:
    assert find_key(handle) is None
