"""Kaggle's newer calls, by POST: where the older ones are gone, and only there."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.faults.origin import answer_with
from tests.fakes.kaggle import NEWER, Kaggle
from tests.fakes.origin import Origin
from tfimm_resolver import resolve
from tfimm_resolver.errors import AccessError, ArchiveError, FetchError, IntegrityError, NotFoundError
from tfimm_resolver.handles.kaggle import KaggleModel
from tfimm_resolver.sources import kaggle_api

PATH = "google/nnlm/tensorFlow2/en-dim50"
DOWNLOAD, GET = f"{NEWER}DownloadModelInstanceVersion", f"{NEWER}GetModelInstance"


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    """A Kaggle without the older calls."""
    with Kaggle() as server:
        server.is_newer = True
        monkeypatch.setenv("TFIMM_KAGGLE_URL", server.url)
        yield server


def list_calls(kaggle: Kaggle) -> list[tuple[str, str]]:
    """Return the method and the path of each request to the API."""
    return [(request.method, request.path) for request in kaggle.api.requests]


@pytest.mark.parametrize("is_redirected", [True, False], ids=["redirect", "archive"])
def test_a_version_comes_by_the_newer_call_where_the_older_is_gone(
    is_redirected: bool, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.is_redirected = is_redirected
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_0123456789")
    kaggle.members.add("Bearer KGAT_0123456789")
    path = resolve(kaggle.publish(PATH, 3, tar_gz(), requires_consent=True))
    assert files_in(path) == MODEL
    assert list_calls(kaggle) == [("GET", f"/api/v1/models/{PATH}/3/download"), ("POST", DOWNLOAD)]
    assert json.loads(kaggle.api.requests[1].posted)["versionNumber"] == 3
    assert [request.method for request in kaggle.storage.requests] == ["GET"] * is_redirected
    assert kaggle.get_authorizations(kaggle.storage) <= {None}
    assert b"KGAT" not in Path(f"{path}.descriptor.txt").read_bytes()


def test_the_newest_version_is_looked_up_by_the_newer_call(kaggle: Kaggle) -> None:
    kaggle.publish(PATH, 3, tar_gz())
    assert files_in(resolve(f"kaggle://{PATH}")) == MODEL
    posts = [path for method, path in list_calls(kaggle) if method == "POST"]
    assert posts == [GET, DOWNLOAD]


def test_the_newer_call_is_not_made_where_the_older_answers(kaggle: Kaggle) -> None:
    kaggle.is_newer = False
    resolve(kaggle.publish(PATH, 3, tar_gz()))
    kaggle.api.put(f"/api/v1/models/{PATH}/4/download", b"", answer_with(403, b"{}"))
    with pytest.raises(AccessError):
        resolve(f"kaggle://{PATH}/4")
    assert {method for method, _ in list_calls(kaggle)} == {"GET"}


def test_a_model_that_neither_call_finds_is_not_found(kaggle: Kaggle) -> None:
    kaggle.publish(PATH, 3, tar_gz())
    with pytest.raises(NotFoundError) as caught:
        resolve(f"kaggle://{PATH}/4")
    assert f"/api/v1/models/{PATH}/4/download" in caught.value.text and DOWNLOAD in caught.value.text


@pytest.mark.parametrize("status", [400, 405, 500, 501, 503])
def test_an_api_without_the_newer_calls_does_not_hide_that_the_model_is_not_found(
    status: int, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    kaggle.api.put(DOWNLOAD, b"", answer_with(status, b"no"))
    with pytest.raises(NotFoundError, match=f"answered {status}") as caught:
        resolve(f"kaggle://{PATH}/4")
    assert caught.value.status == 404


def test_denied_access_and_wrong_bytes_of_the_newer_call_are_reported_as_such(
    kaggle: Kaggle, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = kaggle.publish(PATH, 3, tar_gz(), requires_consent=True)
    with pytest.raises(AccessError) as caught:
        resolve(handle)
    assert "requested without credentials" in caught.value.text and "give consent" in caught.value.fix
    handle = kaggle.publish(PATH, 4, b"not an archive")
    with pytest.raises(ArchiveError):
        resolve(handle)
    handle = kaggle.publish(PATH, 5, tar_gz())
    with pytest.raises(IntegrityError):
        resolve(handle, sha256="0" * 64)
    assert not [*cache_dir.glob("*")]


def test_a_mirror_gets_no_call_of_the_api(kaggle: Kaggle, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = kaggle.publish(PATH, 3, tar_gz())
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", origin.url)
    with pytest.raises(FetchError):
        resolve(handle)
    assert not any("ModelApiService" in path for path in origin.requests) and kaggle.api.requests == []
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", f"{origin.url},direct")
    assert files_in(resolve(handle)) == MODEL
    assert not any("ModelApiService" in path for path in origin.requests)


@pytest.mark.parametrize(("status", "method"), [(302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
def test_a_redirect_keeps_the_method_if_its_status_says_so(status: int, method: str, kaggle: Kaggle) -> None:
    handle = kaggle.publish(PATH, 3, tar_gz())
    kaggle.storage.put("/moved", tar_gz())
    location = {"Location": f"{kaggle.storage_url}/moved"}
    kaggle.api.put(DOWNLOAD, b"", lambda response: response.respond(status, b"", location))
    assert files_in(resolve(handle)) == MODEL
    request = kaggle.storage.requests[-1]
    assert request.method == method and (b"nnlm" in request.posted) is (method == "POST")
    assert "content-type" in request.headers if method == "POST" else "content-type" not in request.headers


def test_offline_nothing_is_called(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    with pytest.raises(FetchError):
        resolve(kaggle.publish(PATH, 3, tar_gz()))
    assert kaggle.api.requests == []


@pytest.mark.parametrize(
    ("framework", "name"),
    [
        ("tensorFlow1", "TENSOR_FLOW_1"),
        ("tfLite", "TF_LITE"),
        ("tensorRtLlm", "TENSOR_RT_LLM"),
        ("mxnet", "MXNET"),
        ("gemmaCpp", "GEMMA_CPP"),
    ],
)
def test_the_framework_is_named_as_in_kagglehub(framework: str, name: str) -> None:
    body = json.loads(kaggle_api._make_body(KaggleModel("o", "m", framework, "v", 2)))
    assert body == {
        "ownerSlug": "o",
        "modelSlug": "m",
        "framework": f"MODEL_FRAMEWORK_{name}",
        "instanceSlug": "v",
        "versionNumber": 2,
    }


def test_kaggle_itself_has_another_host_for_the_newer_calls(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sent = list[str]()

    def send(url: str, data: bytes | None) -> bytes | None:
        sent.append(url)
        if data is None:
            raise NotFoundError("gone", status=404)
        return data

    kaggle_api.call(KaggleModel("o", "m", "keras", "v", 2), "download", send)
    assert sent == [
        "https://www.kaggle.com/api/v1/models/o/m/keras/v/2/download",
        "https://api.kaggle.com/v1/models.ModelApiService/DownloadModelInstanceVersion",
    ]


def test_a_failure_without_a_status_is_not_kaggles() -> None:
    def send(url: str, data: bytes | None) -> None:
        assert data is None
        raise NotFoundError("a mirror does not have it")

    with pytest.raises(NotFoundError, match="a mirror"):
        kaggle_api.call(KaggleModel("o", "m", "keras", "v", 2), "download", send)
