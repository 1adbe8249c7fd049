"""Base URLs of services, and credentials."""

from __future__ import annotations

import base64

import pytest

from tfimm_resolver.errors import HandleError
from tfimm_resolver.http.credentials import Credentials, base_url_from_env

VARIABLE, DEFAULT = "ZOO_ENDPOINT", "https://zoo.example"


def test_a_name_and_a_password_are_encoded_for_basic_authentication() -> None:
    kind, _, value = Credentials.basic("netrc", "ada", "p:ä").authorization.partition(" ")
    assert kind == "Basic" and base64.b64decode(value).decode() == "ada:p:ä"


def test_the_repr_shows_the_source_and_no_secret() -> None:
    assert repr(Credentials("netrc", "Bearer hunter22")) == "Credentials(source='netrc')"


@pytest.mark.parametrize(
    ("value", "url"),
    [
        (None, DEFAULT),
        ("", DEFAULT),
        ("https://Mirror.Example/Zoo/", "https://mirror.example/Zoo"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:80//", "http://[::1]:80"),
    ],
)
def test_a_base_url_has_a_host_in_lower_case_and_no_slash_at_its_end(
    value: str | None, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert base_url_from_env(VARIABLE, DEFAULT) == url


@pytest.mark.parametrize(
    "value",
    [
        "mirror.example",
        "ftp://mirror.example",
        "https://",
        "https://h:0",
        "https://h:99999",
        "https://[::1",
        "https://ada:hunter22@h",
        "https://h?key=hunter22",
        "https://h#hunter22",
        "https://h\\@hunter22",
        "https://h\u202ehunter22",
    ],
)
def test_any_other_value_is_an_error_that_names_the_variable_and_not_the_value(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(HandleError, match=VARIABLE) as caught:
        base_url_from_env(VARIABLE, DEFAULT)
    assert "hunter22" not in str(caught.value)
