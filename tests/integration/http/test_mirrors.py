"""Mirrors: every separator of the list, the request that each kind of mirror gets, and the error if none has the model."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.faults import COMPLETE, NOTHING, PARTS, RANGE_BYTES, RANGES, archive, files, list_kinds
from tests.fakes.faults.origin import Host, after_request, answer_with, cut, reset_connection
from tests.fakes.origin import Origin
from tests.fakes.stores.gcs import Gcs
from tfimm_resolver import resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import (
    AccessError,
    ArchiveError,
    FetchError,
    HandleError,
    IntegrityError,
    NotFoundError,
    OfflineError,
)
from tfimm_resolver.http import mirrors

VARIABLE = "TFIMM_RESOLVER_MIRRORS"
DOWN = "http://127.0.0.1:9"
HUB = "https://tfhub.dev/google/nnlm/2"
OTHER = {"saved_model.pb": b"the mirror's graph"}


@pytest.fixture
def mirror() -> Iterator[Origin]:
    """Another host that is used instead of the origin."""
    with Origin() as server:
        yield server


@pytest.fixture
def handle(origin: Origin) -> str:
    """A model at the origin."""
    return origin.put("/m.tar.gz", tar_gz())


def get_host(origin: Origin) -> str:
    """Return host and port of the origin, as they appear in a path at a mirror."""
    return origin.url.removeprefix("http://")


def read_origin_url(cache_dir: Path, handle: str) -> str:
    """Read from the record which URL sent the bytes."""
    text = (cache_dir / f"{entry_name_for_key(handle)}.descriptor.txt").read_text()
    return str(json.loads(text.partition("\n\n")[2])["origin"]["url"])


def test_a_mirror_is_requested_by_host_and_path_and_the_record_says_who_sent_the_bytes(
    handle: str, origin: Origin, mirror: Origin, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = mirror.put(f"/hub/{get_host(origin)}/m.tar.gz", tar_gz(OTHER))
    monkeypatch.setenv(VARIABLE, f"{mirror.url}/hub/")
    assert resolve(handle) == f"{cache_dir}/{entry_name_for_key(handle)}" and files_in(resolve(handle)) == OTHER
    assert read_origin_url(cache_dir, handle) == there and origin.requests == []


def test_a_tf_hub_handle_is_requested_from_the_mirror_with_its_query(mirror: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.put_model("/tfhub.dev/google/nnlm/2", tar_gz())
    monkeypatch.setenv(VARIABLE, mirror.url)
    assert files_in(resolve(HUB)) == MODEL


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{url}/{host}/{path}", "/tfhub.dev/google/nnlm/2?tf-hub-format=compressed"),
        ("{url}/of/{host}", "/of/tfhub.dev/google/nnlm/2?tf-hub-format=compressed"),
        ("{url}/{path}.tar.gz", "/google/nnlm/2.tar.gz?tf-hub-format=compressed"),
        ("{url}/get?of={host}/{path}", "/get?of=tfhub.dev/google/nnlm/2&tf-hub-format=compressed"),
    ],
)
def test_a_template_places_host_and_path(template: str, path: str, mirror: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.put(path, tar_gz())
    monkeypatch.setenv(VARIABLE, template.replace("{url}", mirror.url))
    resolve(HUB)
    assert mirror.requests == [path]


def test_in_china_the_archive_comes_from_the_bucket_there_as_in_tensorflow_hub(
    mirror: Origin, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.put("/gcs.tensorflow.google.cn/tfhub-modules/google/nnlm/2.tar.gz", tar_gz())
    monkeypatch.setenv(VARIABLE, mirror.url)
    handle = "https://hub.tensorflow.google.cn/google/nnlm/2"
    assert resolve(handle) == f"{cache_dir}/{entry_name_for_key(handle)}"
    assert mirror.requests == ["/gcs.tensorflow.google.cn/tfhub-modules/google/nnlm/2.tar.gz"]


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("separator", [",", "|", " , ,", ",\t| "])
def test_if_a_mirror_lacks_the_file_the_next_one_is_tried(
    status: int, separator: str, handle: str, origin: Origin, mirror: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.put(f"/{get_host(origin)}/m.tar.gz", b"nothing", status=status)
    monkeypatch.setenv(VARIABLE, f" {mirror.url}{separator}direct")
    assert files_in(resolve(handle)) == MODEL
    assert len(mirror.requests) == 1 and origin.requests == ["/m.tar.gz"]


BROKEN = {
    "down": (None, OfflineError, DOWN),
    "refuses": ({"status": 403, "body": b"not you"}, FetchError, "not you"),
    "cannot": ({"status": 500, "body": b"oh dear"}, FetchError, "oh dear"),
    "sends a page": ({"body": b"<html><title>Log in</title></html>"}, ArchiveError, "an HTML page: 'Log in'"),
    "sends a truncated archive": ({"body": tar_gz()[:-9]}, ArchiveError, "gzip"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_after_a_comma_no_other_mirror_is_tried_on_another_error(
    fault: str, handle: str, origin: Origin, mirror: Origin, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, kind, word = BROKEN[fault]
    if page is not None:
        mirror.put(f"/{get_host(origin)}/m.tar.gz", **page)  # type: ignore[arg-type]
    at = DOWN if page is None else mirror.url
    monkeypatch.setenv(VARIABLE, f"{at},direct")
    with pytest.raises(kind) as caught:
        resolve(handle)
    text = str(caught.value)
    assert word in text and f"{at}/{get_host(origin)}/m.tar.gz" in text and "use | to continue after any error" in text
    assert origin.requests == [] and list_kinds(cache_dir) == set()


@pytest.mark.parametrize("fault", BROKEN)
def test_after_a_bar_the_next_mirror_is_tried_on_any_error_with_a_warning(
    fault: str,
    handle: str,
    origin: Origin,
    mirror: Origin,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    page, _, word = BROKEN[fault]
    if page is not None:
        mirror.put(f"/{get_host(origin)}/m.tar.gz", **page)  # type: ignore[arg-type]
    monkeypatch.setenv(VARIABLE, f"{DOWN if page is None else mirror.url}|direct")
    assert files_in(resolve(handle)) == MODEL
    assert list_kinds(cache_dir) == COMPLETE and read_origin_url(cache_dir, handle) == handle
    assert word in caplog.text and "trying the next entry" in caplog.text


def test_the_bytes_of_a_mirror_have_to_match_the_pin_and_the_next_mirror_may(
    handle: str, origin: Origin, mirror: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.put(f"/{get_host(origin)}/m.tar.gz", tar_gz(OTHER))
    pin = hashlib.sha256(tar_gz()).hexdigest()
    monkeypatch.setenv(VARIABLE, f"{mirror.url},direct")
    with pytest.raises(IntegrityError, match=f"pinned   {pin}"):
        resolve(handle, sha256=pin)
    assert origin.requests == []
    monkeypatch.setenv(VARIABLE, f"{mirror.url}|direct")
    assert files_in(resolve(handle, sha256=pin)) == MODEL


def test_off_refuses_every_download_and_serves_what_is_cached(
    handle: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "off")
    with pytest.raises(OfflineError, match=f"{VARIABLE} ends in off"):
        resolve(handle)
    assert origin.requests == []
    monkeypatch.delenv(VARIABLE)
    path = resolve(handle)
    monkeypatch.setenv(VARIABLE, "off")
    assert resolve(handle) == path


def test_off_ends_a_list_and_so_does_direct(
    handle: str, origin: Origin, mirror: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.put(f"/{get_host(origin)}/m.tar.gz", b"none", status=404)
    monkeypatch.setenv(VARIABLE, f"{mirror.url},off,direct")
    with pytest.raises(OfflineError, match="ends in off") as caught:
        resolve(handle)
    assert "answered 404" in str(caught.value) and origin.requests == []
    origin.put("/m.tar.gz", b"gone", status=404)
    monkeypatch.setenv(VARIABLE, f"direct,{mirror.url}")
    with pytest.raises(NotFoundError):
        resolve(handle)
    assert len(mirror.requests) == 1


def test_when_all_fail_the_error_lists_every_mirror(origin: Origin, mirror: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{DOWN}|{mirror.url},direct")
    with pytest.raises(NotFoundError) as caught:
        resolve(f"{origin.url}/m.tar.gz")
    lines = str(caught.value).splitlines()
    assert f"{origin.url}/m.tar.gz answered 404" in lines[0]
    assert f"{DOWN}/{get_host(origin)}/m.tar.gz cannot be reached" in lines[1] and "answered 404" in lines[2]


def test_an_error_takes_precedence_over_a_404_whichever_is_last(
    origin: Origin, mirror: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"{DOWN}|{mirror.url}")
    with pytest.raises(OfflineError) as caught:
        resolve(f"{origin.url}/m.tar.gz")
    assert "answered 404" in str(caught.value) and origin.requests == []


def test_a_directory_of_archives_serves_also_offline(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "my mirror" / "tfhub.dev" / "google" / "nnlm" / "2.tar.gz"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(tar_gz())
    (tmp_path / "my mirror" / "example.org:8080").mkdir()
    (tmp_path / "my mirror" / "example.org:8080" / "a b.zip").write_bytes(tar_gz(OTHER))
    monkeypatch.setenv(VARIABLE, f"file://{tmp_path}/my%20mirror")
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert files_in(resolve(HUB)) == MODEL and read_origin_url(cache_dir, HUB) == str(packed)
    assert files_in(resolve("https://ada:secret@example.org:8080/a%20b.zip?token=secret")) == OTHER
    with pytest.raises(NotFoundError, match=r"google/other/1\.tar\.gz cannot be read"):
        resolve("https://tfhub.dev/google/other/1")
    with pytest.raises(NotFoundError, match=r"2\.tar\.gz/1\.tar\.gz"):
        resolve("https://tfhub.dev/google/nnlm/2.tar.gz/1")
    monkeypatch.setenv(VARIABLE, f"file://{tmp_path}/my%20mirror,direct")
    with pytest.raises(OfflineError, match="OFFLINE is set"):
        resolve("https://tfhub.dev/google/other/1")


def test_a_directory_of_archives_does_not_guess_what_a_query_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "example.org").mkdir()
    (tmp_path / "example.org" / "get.tar.gz").write_bytes(tar_gz())
    monkeypatch.setenv(VARIABLE, f"file://{tmp_path}")
    assert files_in(resolve("https://example.org/get")) == MODEL
    with pytest.raises(NotFoundError, match="has a query, which a directory of archives cannot answer"):
        resolve("https://example.org/get?model=b")


@pytest.mark.parametrize("host", ["..", "..%2f..", "%2e%2e", "example.org%2f.."])
@pytest.mark.parametrize("where", ["file://{folder}/mirror", "{url}/mirror"])
def test_a_host_that_leaves_the_directory_is_refused(
    where: str, host: str, mirror: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.tar.gz").write_bytes(tar_gz())
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv(VARIABLE, where.format(folder=tmp_path, url=mirror.url))
    with pytest.raises(HandleError, match="would leave the mirror"):
        resolve(f"https://{host}/x.tar.gz")
    assert mirror.requests == []


@pytest.mark.parametrize("handle", ["hf://ada/model", "https://huggingface.co/ada/model", "s3://bucket/model"])
def test_off_applies_to_requests_of_other_libraries(handle: str, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "off")
    with pytest.raises(OfflineError, match="does not contain direct"):
        resolve(handle)


@pytest.mark.parametrize(
    "path", ["a/../../x.tar.gz", "%2e%2E/x.tar.gz", "a%2f..%2fx.tar.gz", "a/%5c..%5cx.tgz", "x%00.tgz", "./x.tgz"]
)
@pytest.mark.parametrize("where", ["file://{folder}/mirror", "{url}/mirror"])
def test_a_path_that_leaves_the_directory_is_refused(
    where: str, path: str, mirror: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.tar.gz").write_bytes(tar_gz())
    (tmp_path / "mirror" / "example.org").mkdir(parents=True)
    monkeypatch.setenv(VARIABLE, where.format(folder=tmp_path, url=mirror.url))
    with pytest.raises(HandleError, match="would leave the mirror") as caught:
        resolve(f"https://ada:secret@example.org/{path}")
    assert "secret" not in str(caught.value)
    assert mirror.requests == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (",", "contains no mirror"),
        ("| ,|", "contains no mirror"),
        ("mirror", "'mirror'"),
        ("/srv/mirror", "'/srv/mirror'"),
        ("ftp://example.org", "ftp"),
        ("file://elsewhere/srv", "elsewhere"),
        ("file:srv", "srv"),
        ("https://", "https://"),
        ("https://example.org/{name}", "unknown placeholder: name"),
        ("https://example.org/#{path}", "example.org"),
        ("https://[::1/x", "::1"),
        ("direct off", "direct off"),
        ("https://example.org/hub?sig=secret", "example.org/hub"),
        ("https://ada:secret@example.org/{x}?token=secret", "example.org"),
    ],
)
def test_a_malformed_list_is_an_error_without_its_secrets(
    text: str, word: str, handle: str, origin: Origin, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(HandleError) as caught:
        resolve(handle)
    assert VARIABLE in str(caught.value) and word in str(caught.value) and "token" not in str(caught.value)
    assert origin.requests == [] and list_kinds(cache_dir) == set()


def test_https_is_the_default_scheme() -> None:
    assert [mirror.template for mirror in mirrors.parse("mirror.example.org/hub, localhost:8080")] == [
        "https://mirror.example.org/hub/{host}/{path}",
        "https://localhost:8080/{host}/{path}",
    ]


def test_an_empty_list_means_direct(handle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, " ")
    assert files_in(resolve(handle)) == MODEL


def test_userinfo_of_the_handle_does_not_reach_the_mirror_and_the_mirrors_own_nowhere_else(
    origin: Origin, mirror: Origin, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    origin.put("/m.tar.gz", tar_gz())
    mirror.put(f"/{get_host(origin)}/m.tar.gz", b"no", status=500)
    monkeypatch.setenv(VARIABLE, f"http://bob:mirrorpass@{mirror.url.removeprefix('http://')}|direct")
    handle = f"http://ada:secret@{get_host(origin)}/m.tar.gz"
    resolve(handle)
    assert {headers["Authorization"] for headers in mirror.headers} == {"Basic Ym9iOm1pcnJvcnBhc3M="}
    assert {headers["Authorization"] for headers in origin.headers} == {"Basic YWRhOnNlY3JldA=="}
    texts = [path.read_text() for path in cache_dir.glob("*.txt")]
    assert all("secret" not in text and "mirrorpass" not in text for text in [*texts, caplog.text])


def test_an_uncompressed_location_is_requested_from_the_mirror_too(mirror: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.put("/tfhub.dev/google/nnlm/2?tf-hub-format=uncompressed", b"gs://bucket/model", status=303)
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    monkeypatch.setenv(VARIABLE, f"file:///nowhere,{mirror.url}")
    assert resolve(HUB) == "gs://bucket/model"
    monkeypatch.setenv(VARIABLE, "off")
    with pytest.raises(OfflineError):
        resolve(HUB)


def test_if_a_mirror_refuses_an_archive_of_a_bucket_the_bucket_is_not_used_directly(
    mirror: Origin, gcs: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcs.buckets["bucket"].put("m.tar.gz", tar_gz())
    mirror.put(f"/{gcs.url.removeprefix('http://')}/bucket/m.tar.gz", status=403)
    monkeypatch.setenv(VARIABLE, f"{mirror.url},direct")
    monkeypatch.setattr("tfimm_resolver.object_store.credentials.has_credentials", lambda scheme: True)
    with pytest.raises(AccessError):
        resolve("gs://bucket/m.tar.gz")
    assert gcs.log == []


def test_a_public_archive_in_a_bucket_is_requested_from_the_mirror_only(
    mirror: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, mirror.url)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(NotFoundError):
        resolve("gs://bucket/m.tar.gz")
    mirror.put("/storage.googleapis.com/bucket/m.tar.gz", tar_gz())
    assert files_in(resolve("gs://bucket/m.tar.gz")) == MODEL


@pytest.fixture
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfimm_resolver.transfer.download.RANGE_BYTES", RANGE_BYTES)


@pytest.fixture
def host() -> Iterator[Host]:
    """An origin that supports range requests."""
    with Host() as server:
        yield server


@pytest.mark.usefixtures("_small_ranges")
def test_a_partial_download_is_resumed_after_a_mirror_that_lacks_the_file(
    host: Host, mirror: Origin, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"{mirror.url},direct")
    monkeypatch.setenv("TFIMM_RESOLVER_CONNECTIONS", "1")
    handle = host.put("/m.tar.gz", archive(), after_request(9, reset_connection))
    with pytest.raises(FetchError):
        resolve(handle)
    assert list_kinds(cache_dir) == PARTS
    host.put("/m.tar.gz", archive())
    assert files_in(resolve(handle)) == files()
    assert host.count_resent_bytes() == 0 and len(mirror.requests) == 2 and list_kinds(cache_dir) == COMPLETE


@pytest.mark.usefixtures("_small_ranges")
def test_a_partial_download_is_removed_when_the_model_comes_from_a_directory(
    host: Host, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = host.put("/m.tar.gz", archive(), after_request(9, reset_connection))
    with pytest.raises(FetchError):
        resolve(handle)
    assert list_kinds(cache_dir) == PARTS
    (tmp_path / "mirror" / f"127.0.0.1:{host.port}").mkdir(parents=True)
    (tmp_path / "mirror" / f"127.0.0.1:{host.port}" / "m.tar.gz").write_bytes(archive())
    monkeypatch.setenv(VARIABLE, f"file://{tmp_path}/mirror")
    assert files_in(resolve(handle)) == files() and list_kinds(cache_dir) == COMPLETE


@pytest.mark.usefixtures("_small_ranges")
def test_parts_from_one_mirror_are_removed_before_a_plain_stream_from_another(
    host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = host.put("/m.tar.gz", archive(), after_request(9, reset_connection))
    with pytest.raises(FetchError):
        resolve(handle)
    assert list_kinds(cache_dir) == PARTS
    host.put(f"/mirror/127.0.0.1:{host.port}/m.tar.gz", archive(), cut(0.5))
    monkeypatch.setattr("tfimm_resolver.transfer.partial_store.PartStore.has_disk_space", lambda *_: False)
    monkeypatch.setenv(VARIABLE, f"{host.url}/mirror")
    with pytest.raises(FetchError):
        resolve(handle)
    assert list_kinds(cache_dir) == NOTHING


@pytest.mark.usefixtures("_small_ranges")
def test_bytes_of_two_mirrors_are_never_mixed(host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = bytes(reversed(archive()))  # of the same length, and under the same validator
    host.put(f"/first/{host.url.removeprefix('http://')}/m.tar.gz", changed, after_request(5, answer_with(500)))
    handle = host.put("/m.tar.gz", archive())
    monkeypatch.setenv(VARIABLE, f"{host.url}/first|direct")
    assert files_in(resolve(handle)) == files() and list_kinds(cache_dir) == COMPLETE
    assert sum(one.status == 206 for one in host.requests if one.path == "/m.tar.gz") == RANGES


def test_the_command_line_names_the_mirror_that_failed(handle: str, origin: Origin, cache_dir: Path) -> None:
    code, out, err = run_cli("resolve", handle, TFIMM_RESOLVER_MIRRORS=f"{DOWN}|direct")
    assert (code, out) == (
        0,
        f"{cache_dir}/{entry_name_for_key(handle)}\n",
    ) and f"{DOWN}/{get_host(origin)}/m.tar.gz cannot be reached" in err
    code, _, err = run_cli("resolve", f"{origin.url}/n.tar.gz", TFIMM_RESOLVER_MIRRORS=f"{DOWN},direct")
    assert code == 3 and "use | to continue after any error" in err
    assert os.listdir(cache_dir)
