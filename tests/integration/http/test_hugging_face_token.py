"""HF_TOKEN: sent for files of Hugging Face that are requested by URL, and to no other host."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin, Page
from tfimm_resolver import hub, resolve
from tfimm_resolver.errors import AccessError, HandleError
from tfimm_resolver.http.hugging_face_token import find_token

TOKEN = "hf_" + "a" * 30
FILE = "https://huggingface.co/ada/m/resolve/main/m.tar.gz"


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", f" {TOKEN}\n")


@pytest.mark.parametrize(
    "url", [FILE, FILE.replace("/ada", "/datasets/ada"), FILE.replace("huggingface", "hf"), FILE + "?download=true"]
)
def test_a_file_of_hugging_face_gets_the_token(url: str) -> None:
    found = find_token(url, url)
    assert found is not None and found.authorization == f"Bearer {TOKEN}" and found.source == "HF_TOKEN"


@pytest.mark.parametrize(
    "url",
    [
        FILE.replace("https", "http"),
        FILE.replace("huggingface.co", "huggingface.co.evil.example"),
        FILE.replace("huggingface.co", "huggingface.co@evil.example"),
        FILE.replace("huggingface.co", "huggingface.co:8443"),
        "https://evil.example/ada/m/resolve/main/m.tar.gz",
        "https://huggingface.co/ada/m",
        "https://huggingface.co/api/models",
    ],
)
def test_no_other_url_gets_it(url: str) -> None:
    assert find_token(url, url) is find_token(url, FILE) is None


def test_a_redirect_from_another_host_does_not_get_it() -> None:
    assert find_token(FILE, "https://evil.example/m") is None
    assert find_token(FILE, "https://hf.co/ada/m/resolve/main/m.tar.gz") is not None


def test_the_older_variable_is_read_and_an_invalid_token_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_a\nb")
    with pytest.raises(HandleError, match="HF_TOKEN has characters that a header cannot hold"):
        find_token(FILE, FILE)
    monkeypatch.delenv("HF_TOKEN")
    assert find_token(FILE, FILE) is None
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", TOKEN)
    assert find_token(FILE, FILE) is not None


def list_authorizations(origin: Origin) -> list[str | None]:
    """Return the Authorization header of each request."""
    return [headers.get("Authorization") for headers in origin.headers]


def test_models_and_weights_are_fetched_with_it(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", origin.url)
    path = "/ada/m/resolve/main/m.tar.gz"
    assert files_in(resolve(origin.put(path, tar_gz()))) == MODEL
    hub.download_url_to_file(origin.url + path, tmp_path / "m.tar.gz", progress=False)
    assert list_authorizations(origin) == [f"Bearer {TOKEN}"] * 2


def test_another_host_gets_it_neither_first_nor_by_a_redirect(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    with Origin() as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint.url)
        there = endpoint.put("/ada/m/resolve/main/m.tar.gz", tar_gz())
        here = origin.put("/a/b/resolve/main/m.tar.gz", status=302, headers={"Location": there})
        assert files_in(resolve(here)) == MODEL
        assert list_authorizations(origin) == list_authorizations(endpoint) == [None]


def test_a_refused_token_is_left_out_once(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", origin.url)
    path = "/ada/m/resolve/main/m.tar.gz"

    def answer() -> Page:
        return Page(b"Invalid username or password.", 401) if "Authorization" in origin.headers[-1] else Page(tar_gz())

    origin.pages[path] = answer
    assert files_in(resolve(origin.url + path)) == MODEL
    assert list_authorizations(origin) == [f"Bearer {TOKEN}", None]
    origin.pages[path] = Page(b"no", 401)
    with pytest.raises(AccessError, match="asked with the login of HF_TOKEN, and once more without it") as caught:
        resolve(origin.url + path, refresh=True)
    assert TOKEN not in str(caught.value)
