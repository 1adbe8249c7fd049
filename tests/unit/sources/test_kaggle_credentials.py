"""Tests of ``sources.kaggle_credentials``: where the user's credentials for Kaggle are found."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tfimm_resolver.errors import AccessError, HandleError
from tfimm_resolver.sources.kaggle_credentials import find_credentials, get_base_url


@pytest.fixture
def folder() -> Path:
    """The directory ``~/.kaggle``."""
    (path := Path.home() / ".kaggle").mkdir()
    return path


def describe() -> tuple[str, str]:
    """Return the source and the header of the credentials that are found."""
    found = find_credentials()
    return (found.source, found.authorization) if found else ("", "")


def encode(name: str, key: str) -> str:
    """Return the header for a name and a key."""
    return "Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()


def test_each_source_comes_before_the_one_added_earlier(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_credentials() is None
    (folder / "kaggle.json").write_text(json.dumps({"username": "ada", "key": "k1"}))
    assert describe() == (f"{folder}/kaggle.json", encode("ada", "k1"))
    (tmp_path / "kaggle.json").write_text(json.dumps({"username": "ada", "key": "k2"}))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    assert describe() == (f"{tmp_path}/kaggle.json", encode("ada", "k2"))
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    assert describe()[0] == f"{tmp_path}/kaggle.json", "a name without a key is not enough"
    monkeypatch.setenv("KAGGLE_KEY", "k3")
    assert describe() == ("KAGGLE_USERNAME and KAGGLE_KEY", encode("ada", "k3"))
    (folder / "access_token.txt").write_text("t1\n")
    assert describe() == (f"{folder}/access_token.txt", "Bearer t1")
    (folder / "access_token").write_text("t2\n")
    assert describe() == (f"{folder}/access_token", "Bearer t2")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "t3")
    assert describe() == ("KAGGLE_API_TOKEN", "Bearer t3")


def test_a_token_variable_may_name_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(" t4 \n")
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "token"))
    assert describe() == ("KAGGLE_API_TOKEN", "Bearer t4")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "t" * 5000)  # too long for a path
    assert describe()[1] == "Bearer " + "t" * 5000


def test_the_token_of_a_notebook_is_used_only_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("t5")
    monkeypatch.setenv("KAGGLE_API_V1_TOKEN", str(tmp_path / "token"))
    assert find_credentials() is None
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert describe() == (str(tmp_path / "token"), "Bearer t5")


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "caf\u00e9"])
def test_a_malformed_token_is_an_error_that_does_not_show_it(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    with pytest.raises(AccessError, match="KAGGLE_API_TOKEN is not a token") as caught:
        find_credentials()
    assert token not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"username": "ada"}', '{"username": "ada", "key": 1}', "[" * 100_000])
def test_a_file_without_a_name_and_a_key_is_an_error(text: str, folder: Path) -> None:
    (folder / "kaggle.json").write_text(text)
    with pytest.raises(AccessError, match=r"kaggle\.json does not hold credentials for Kaggle"):
        find_credentials()


def test_a_file_that_is_not_text_is_an_error(folder: Path) -> None:
    (folder / "access_token").write_bytes(b"\xff\xfe")
    with pytest.raises(AccessError, match="it is not a text file"):
        find_credentials()


def test_the_address_can_be_set_and_must_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_base_url() == "https://www.kaggle.com"
    monkeypatch.setenv("TFIMM_KAGGLE_URL", "http://Mirror.example:8080/kaggle/")
    assert get_base_url() == "http://mirror.example:8080/kaggle"
    monkeypatch.setenv("TFIMM_KAGGLE_URL", "ftp://mirror.example")
    with pytest.raises(HandleError, match="TFIMM_KAGGLE_URL"):
        get_base_url()
