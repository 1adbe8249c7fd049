"""Credentials for Kaggle that only this process has: kagglehub's, and the secrets of a notebook on Colab."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tfimm_resolver.errors import AccessError
from tfimm_resolver.sources.kaggle_credentials import find_credentials
from tfimm_resolver.sources.kaggle_process import find_colab_secrets, find_kagglehub_login


@pytest.fixture
def log_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set what kagglehub's functions set in its module."""
    config = ModuleType("kagglehub.config")
    monkeypatch.setitem(sys.modules, "kagglehub.config", config)

    def set_fields(**fields: object) -> None:
        config._kaggle_credentials = SimpleNamespace(**fields)  # type: ignore[attr-defined]

    return set_fields


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], Any]], None]:
    """Provide Colab's module of secrets with a function that returns one."""
    package = ModuleType("google.colab")
    monkeypatch.setitem(sys.modules, "google.colab", package)

    def set_function(get: Callable[[str], Any]) -> None:
        package.userdata = SimpleNamespace(get=get)  # type: ignore[attr-defined]

    return set_function


class SecretNotFoundError(Exception):
    """What Colab raises for a secret that does not exist."""


def secrets(**values: Any) -> Callable[[str], Any]:
    """Return a function that returns these secrets, and raises for others as Colab does."""

    def get(name: str) -> Any:
        if name not in values:
            raise SecretNotFoundError(name)
        return values[name]

    return get


def describe() -> tuple[str, str]:
    """Return the source and the header of the credentials that are found."""
    found = find_credentials()
    return (found.source, found.authorization) if found else ("", "")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"api_key": " token\n", "username": None, "key": None}, ("token",)),
        ({"api_key": None, "username": "ada", "key": "k"}, ("ada", "k")),
        ({"username": "ada", "key": "k"}, ("ada", "k")),
        ({"api_key": "", "username": "ada", "key": ""}, ()),
        ({"api_key": 7, "username": ["ada"], "key": object()}, ()),
        ({}, ()),
    ],
    ids=["token", "name and key", "kagglehub 0.3", "empty", "other types", "nothing"],
)
def test_finds_what_kagglehub_was_given(fields: dict[str, object], expected: tuple[str, ...], log_in: Any) -> None:
    assert find_kagglehub_login() == ()
    log_in(**fields)
    assert find_kagglehub_login() == expected


def test_kagglehub_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "kagglehub.config", raising=False)
    assert find_kagglehub_login() == () and "kagglehub.config" not in sys.modules


def test_a_login_comes_first_and_colab_last(log_in: Any, colab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    colab(secrets(KAGGLE_API_TOKEN="of_colab"))
    assert describe() == ("the secrets of this notebook on Colab", "Bearer of_colab")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "of_variable")
    assert describe() == ("KAGGLE_API_TOKEN", "Bearer of_variable")
    log_in(api_key="of_login")
    assert describe() == ("kagglehub.login()", "Bearer of_login")


def test_a_login_that_is_not_a_token_is_an_error_that_does_not_show_it(log_in: Any) -> None:
    log_in(api_key="two words")
    with pytest.raises(AccessError, match="is not a token") as caught:
        find_credentials()
    assert "two words" not in str(caught.value)


@pytest.mark.parametrize(
    ("get", "expected"),
    [
        (secrets(KAGGLE_API_TOKEN="to\r\nken "), ("token",)),
        (secrets(KAGGLE_USERNAME="ada", KAGGLE_KEY="k"), ("ada", "k")),
        (secrets(KAGGLE_API_TOKEN="", KAGGLE_USERNAME="ada", KAGGLE_KEY="k"), ("ada", "k")),
        (secrets(KAGGLE_USERNAME="ada"), ()),
        (secrets(KAGGLE_API_TOKEN=None, KAGGLE_USERNAME=7, KAGGLE_KEY=b"k"), ()),
        (secrets(), ()),
    ],
    ids=["token", "name and key", "empty token", "name only", "other types", "nothing"],
)
def test_finds_the_secrets_of_colab(get: Any, expected: tuple[str, ...], colab: Any) -> None:
    colab(get)
    assert find_colab_secrets() == expected


def test_there_are_none_outside_of_colab_or_without_the_module_of_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    monkeypatch.setitem(sys.modules, "google.colab.userdata", SimpleNamespace(get=lambda _: "not requested"))  # type: ignore[arg-type]
    assert find_colab_secrets() == () and "google.colab" not in sys.modules
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    monkeypatch.setitem(sys.modules, "google.colab.userdata", None)
    assert find_colab_secrets() == ()


def test_colab_is_given_a_limited_time(colab: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_CONNECT_TIMEOUT_S", "0.1")
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "0.1")
    answered, requested = threading.Event(), list[str]()

    def wait(name: str) -> str:
        requested.append(name)
        answered.wait(60)
        return "late"

    colab(wait)
    start_s = time.monotonic()
    try:
        assert find_colab_secrets() == () and time.monotonic() - start_s < 50
    finally:
        answered.set()
    assert requested == ["KAGGLE_API_TOKEN"] and "Colab did not return the secret KAGGLE_API_TOKEN" in caplog.text
