"""Tests of ``sources.graph_urls``: what the error for the URL of a graph proposes."""

from __future__ import annotations

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin
from tfimm_resolver import resolve
from tfimm_resolver.errors import ArchiveError, FetchError, IntegrityError, NotFoundError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources.graph_urls import suggest_handle


@pytest.mark.parametrize(
    ("url", "model"),
    [
        ("https://github.com/o/r/blob/v1/a%20b/1/saved_model.pb", "github://o/r:v1#subdirectory=a%20b/1"),
        ("https://github.com/o/r/raw/main/saved_model.pb", "github://o/r:main"),
        ("https://raw.githubusercontent.com/o/r/main/m/saved_model.pbtxt", "github://o/r:main#subdirectory=m"),
        ("https://raw.githubusercontent.com/o/r/refs/heads/main/m/saved_model.pb", "github://o/r:main#subdirectory=m"),
        ("https://huggingface.co/o/m/resolve/main/tf/1/saved_model.pb?download=true", "hf://o/m/tf/1"),
        ("https://huggingface.co/o/m/blob/v1/saved_model.pb", "hf://o/m@v1"),
        ("https://storage.googleapis.com/bucket/m/1/saved_model.pb", "gs://bucket/m/1"),
        ("https://bucket.s3.eu-west-1.amazonaws.com/m/1/saved_model.pb", "s3://bucket/m/1"),
        ("https://s3.amazonaws.com/bucket/m/saved_model.pb", "s3://bucket/m"),
        ("https://models.example/m/saved_model.pb", None),
        ("https://github.com/o/saved_model.pb", None),
        ("https://storage.googleapis.com/saved_model.pb", None),
    ],
)
def test_the_handle_of_the_model_is_known_for_some_hosts(url: str, model: str | None) -> None:
    assert suggest_handle(Handle.parse(url)) == model


@pytest.mark.parametrize("host", ["github.com", "models.example"])
@pytest.mark.parametrize("name", ["saved_model.pb", "saved_model.pbtxt"])
def test_the_error_for_the_url_of_a_graph_says_what_to_use(
    name: str, host: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", origin.url + "/{host}{path}|off")
    origin.put(f"/{host}/o/r/raw/main/m/{name}?tf-hub-format=compressed", b"\x08\x01\x12\x02graph")
    origin.put(f"/{host}/o/r/raw/main/m/{name}", b"\x08\x01\x12\x02graph")
    with pytest.raises(FetchError, match=rf"{name} is one file of a SavedModel, which is a directory") as caught:
        resolve(f"https://{host}/o/r/raw/main/m/{name}")
    assert ("github://o/r:main#subdirectory=m" if host == "github.com" else ".tar.gz or .zip") in caught.value.fix


def test_the_error_has_the_kind_and_the_reason_of_the_failed_download(origin: Origin) -> None:
    for url, kind in {
        origin.put_model("/m/saved_model.pb", b"\x08\x01"): ArchiveError,
        f"{origin.url}/gone/saved_model.pb": NotFoundError,
    }.items():
        with pytest.raises(kind, match="is one file of a SavedModel"):
            resolve(url)
    with pytest.raises(NotFoundError) as caught:
        resolve(f"{origin.url}/gone/model")
    assert "is one file" not in str(caught.value)


def test_a_server_that_returns_an_archive_for_such_a_url_is_served(origin: Origin) -> None:
    url = origin.put_model("/m/saved_model.pb", tar_gz())
    assert files_in(resolve(url)) == MODEL
    with pytest.raises(IntegrityError) as caught:
        resolve(url, refresh=True, sha256="ab" * 32)
    assert "is one file" not in str(caught.value)
