"""Tests of ``sources.tfhub``: models by the protocol of TF Hub."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin
from tfimm_resolver.errors import FetchError, NotFoundError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources import tfhub
from tfimm_resolver.sources.plan import Fetch, RemoteLocation
from tfimm_resolver.transfer.downloader import Downloader


class UrlRecorder:
    """Records the URLs of the archives that a plan asks for."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    def archive(self, url: str, into: Path, **_: object) -> None:
        self.urls.append(url)


def test_a_model_is_requested_with_the_format_parameter(origin: Origin, tmp_path: Path) -> None:
    handle = Handle.parse(origin.put_model("/m/1", tar_gz()))
    plan = tfhub.plan(handle)
    assert isinstance(plan, Fetch)
    (into := tmp_path / "into").mkdir()
    plan.fill(into, Downloader(handle))
    assert files_in(into) == MODEL and origin.requests == ["/m/1?tf-hub-format=compressed"]


@pytest.mark.parametrize(
    ("typed", "served", "requests"),
    [
        ("/m/1/", "/m/1/", ["/m/1/"]),
        ("/m/1/", "/m/1", ["/m/1/", "/m/1"]),
        ("/m/1", "/m/1", ["/m/1"]),
        ("/m/1//", "/m/1//", ["/m/1//"]),
        ("/m/1/#subdirectory=a/", "/m/1/", ["/m/1/"]),
    ],
)
def test_a_slash_at_the_end_is_requested_as_it_was_typed(
    typed: str, served: str, requests: list[str], origin: Origin, tmp_path: Path
) -> None:
    origin.put_model(served, tar_gz())
    handle = Handle.parse(origin.url + typed)
    assert handle.key == f"{origin.url}/m/1"
    plan = tfhub.plan(handle)
    assert isinstance(plan, Fetch)
    (into := tmp_path / "into").mkdir()
    plan.fill(into, Downloader(handle))
    assert files_in(into) == MODEL
    assert origin.requests == [f"{path}?tf-hub-format=compressed" for path in requests]


def test_of_two_failures_that_without_a_slash_is_reported(origin: Origin, tmp_path: Path) -> None:
    handle = Handle.parse(f"{origin.url}/m/1/")
    plan = tfhub.plan(handle)
    assert isinstance(plan, Fetch)
    with pytest.raises(NotFoundError, match=r"/m/1 answered 404"):
        plan.fill(tmp_path, Downloader(handle))
    origin.put("/m/2/?tf-hub-format=compressed", status=403)
    handle = Handle.parse(f"{origin.url}/m/2/")
    plan = tfhub.plan(handle)
    assert isinstance(plan, Fetch)
    with pytest.raises(FetchError, match="403"):
        plan.fill(tmp_path, Downloader(handle))
    assert origin.requests[2:] == ["/m/2/?tf-hub-format=compressed"]


def test_the_host_in_china_serves_archives_from_its_bucket(tmp_path: Path) -> None:
    recorder = UrlRecorder()
    plan = tfhub.plan(Handle.parse("https://hub.tensorflow.google.cn/google/m/1"))
    assert isinstance(plan, Fetch)
    plan.fill(tmp_path, recorder)  # type: ignore[arg-type]
    assert recorder.urls == ["https://gcs.tensorflow.google.cn/tfhub-modules/google/m/1.tar.gz"]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (303, b"gs://bucket/m/1", "gs://bucket/m/1"),
        (303, b"https://host/m", None),
        (303, b"gs://bucket/a b", None),
        (200, b"gs://bucket/m/1", None),
        (404, b"", None),
    ],
)
def test_uncompressed_the_location_is_read_from_a_303_answer(
    status: int,
    body: bytes,
    expected: str | None,
    origin: Origin,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    origin.put("/m/1?tf-hub-format=uncompressed", body, status=status)
    handle = Handle.parse(f"{origin.url}/m/1")
    plan = tfhub.plan(handle)
    assert isinstance(plan, RemoteLocation) and plan.otherwise.key == handle.key
    with caplog.at_level(logging.WARNING):
        assert plan.where(Downloader(handle)) == expected
    assert ("cannot be read uncompressed" in caplog.text) is (expected is None)


def test_a_signed_url_is_always_downloaded_since_another_parameter_would_break_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    assert isinstance(tfhub.plan(Handle.parse("https://host/m?X-Goog-Signature=abc")), Fetch)
