"""Buckets as sources: directories and archives of s3://, archives of gs://; rejected content and broken downloads."""

from __future__ import annotations

import hashlib
import random
import threading
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, member, tar_gz, tar_of, zip_of
from tests.fakes.buckets import fill_s3, list_requested_paths
from tests.fakes.cli import run_cli
from tests.fakes.stores.gcs import Gcs
from tests.fakes.stores.s3 import S3
from tfimm_resolver import resolve
from tfimm_resolver.errors import (
    ArchiveError,
    FetchError,
    HandleError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    ResolverError,
)
from tfimm_resolver.object_store import client

CHUNK_BYTES = 1000
TAR = tar_of(*(member(name, data) for name, data in MODEL.items()))
LARGE = {**MODEL, "variables/variables.data-00000-of-00001": random.Random(13).randbytes(20 * CHUNK_BYTES)}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def fill_bucket(files: dict[str, bytes], prefix: str = "m") -> str:
    """Put files into S3; return the handle of their directory."""
    fill_s3({f"{prefix}/{name}": data for name, data in files.items()})
    return f"s3://bucket/{prefix}"


@pytest.fixture
def amazon(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> Gcs:
    """A store that speaks Amazon's protocol for reading, with rules and gates; chunks are small."""
    for variable, value in {"ENDPOINT_URL": gcs.url, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{variable}", value)
    monkeypatch.setattr(client, "CHUNK_BYTES", CHUNK_BYTES)
    for name, data in LARGE.items():
        gcs.buckets["bucket"].put(f"m/{name}", data)
    gcs.buckets["bucket"].put("m.tar.gz", tar_gz(LARGE))
    return gcs


@pytest.fixture(params=["s3://bucket/m", "s3://bucket/m.tar.gz"], ids=["directory", "archive"])
def handle(request: pytest.FixtureRequest) -> str:
    handle: str = request.param
    return handle


def test_a_directory_is_fetched_with_all_that_is_below_it_and_nothing_else(s3: S3) -> None:
    files = {**MODEL, "assets/a b%20c#dé&+~[1]/x.txt": b"x", "assets/empty": b""}
    handle = fill_bucket({**files, "": b"", "assets/": b"", "variables/": b"", "assets.extra/": b""})
    fill_s3({"mm/other": b"", "m.txt": b"", "other": b""})
    path = resolve(f"{handle}/")
    assert files_in(path) == files
    requests = len(s3.list_requests())
    assert resolve(handle) == path and len(s3.list_requests()) == requests


def test_the_placeholders_of_hadoop_s_clients_are_no_files(s3: S3) -> None:
    files = {**MODEL, "assets/.keep": b"", "assets/a_$folder$": b"not empty", "x$folder$": b""}
    markers = ("variables_$folder$", "assets_$folder$", "assets/empty_$folder$", "_$folder$")
    handle = fill_bucket({**files, **dict.fromkeys(markers, b"")})
    fill_s3({"m_$folder$": b""})
    assert files_in(resolve(handle)) == files


@pytest.mark.parametrize("name", ["variables/", "other/", ""], ids=["directory", "other name", "top"])
def test_an_object_with_bytes_and_the_name_of_a_directory_is_refused(name: str, s3: S3, cache_dir: Path) -> None:
    handle = fill_bucket({**MODEL, name: b"bytes"})
    with pytest.raises(NotFoundError, match="may end in a slash") as caught:
        resolve(handle)
    assert f"{handle}/{name}".rstrip("/") in caught.value.text and "rename" in caught.value.fix
    assert not list(cache_dir.rglob("saved_model.pb"))


def test_a_directory_of_placeholders_only_is_not_found(s3: S3) -> None:
    fill_s3({"m_$folder$": b"", "m/": b"", "m/a_$folder$": b""})
    with pytest.raises(NotFoundError, match="found no objects below"):
        resolve("s3://bucket/m")


@pytest.mark.parametrize("scheme", ["s3a", "s3n", "S3A"])
def test_other_spellings_of_the_scheme_share_the_copy(scheme: str, s3: S3) -> None:
    path = resolve(fill_bucket(MODEL).replace("s3:", f"{scheme}:"))
    requests = len(s3.list_requests())
    assert files_in(path) == MODEL and resolve("s3://bucket/m") == path and len(s3.list_requests()) == requests
    assert resolve("GCS://bucket/m") == "gs://bucket/m"


@pytest.mark.parametrize(
    ("handle", "fix"),
    [
        ("s3://my-bucket.s3.eu-west-1.amazonaws.com/m.zip", "Write s3://my-bucket/m.zip"),
        ("s3://s3.amazonaws.com/my-bucket/m", "Write s3://my-bucket/m"),
        ("gs://storage.googleapis.com/my-bucket/m", "Write gs://my-bucket/m"),
        ("gs://my-bucket.s3.amazonaws.com/m", "Write s3://my-bucket/m"),
        ("gs://storage.googleapis.com", "Write gs://BUCKET/PATH"),
    ],
)
def test_a_host_where_the_bucket_belongs_is_explained(handle: str, fix: str) -> None:
    with pytest.raises(HandleError, match="has the name of a host") as caught:
        resolve(handle)
    assert caught.value.fix == fix


def test_a_directory_in_a_bucket_is_listed_and_verified_like_any_model(s3: S3) -> None:
    handle = fill_bucket(MODEL)
    path = Path(resolve(handle))
    (path / "saved_model.pb").write_bytes(b"b graph")
    assert handle in run_cli("ls")[1]
    code, out, _ = run_cli("verify", handle)
    assert code == 6 and "saved_model.pb does not match its recorded sha256" in out
    assert run_cli("verify", "--repair", handle)[0] == 0 and files_in(path) == MODEL


def test_a_refresh_fetches_the_current_content(s3: S3) -> None:
    old = resolve(fill_bucket(MODEL))
    new = resolve(fill_bucket({"saved_model.pb": b"newer"}), refresh=True)
    assert new != old and files_in(old) == MODEL and files_in(new)["saved_model.pb"] == b"newer"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["../x"], "cannot be a file path"),
        (["a/../../x"], "cannot be a file path"),
        (["a//b"], "cannot be a file path"),
        (["a:/b"], "does not stay inside"),
        (["x\\..\\y"], "does not stay inside"),
        (["a", "a/b"], "collides with another member"),
        (["x" * 300], "over 255 bytes"),
        (["x\u202ey"], "invisible"),
    ],
)
def test_an_unsafe_name_is_rejected_and_nothing_is_left_behind(
    names: list[str], words: str, s3: S3, cache_dir: Path, tmp_path: Path
) -> None:
    handle = fill_bucket({"saved_model.pb": b"", **dict.fromkeys(names, b"x")})
    with pytest.raises(ArchiveError, match=words) as caught:
        resolve(handle)
    assert str(caught.value).startswith(handle) and not caught.value.is_passing
    assert [*cache_dir.iterdir()] == [] and [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("names", [["con"], ["a/b."], ["a:b"], ["A", "a"]], ids="+".join)
def test_a_name_that_only_other_systems_cannot_hold_is_downloaded(names: list[str], s3: S3) -> None:
    objects = {"saved_model.pb": b"", **dict.fromkeys(names, b"x")}
    assert files_in(resolve(fill_bucket(objects))) == objects


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [("MAX_BYTES", "100", "it unpacks to over 100 bytes"), ("MAX_MEMBERS", "2", "it has over 2 members")],
)
def test_a_directory_over_a_limit_is_rejected_before_any_download(
    variable: str, value: str, words: str, s3: S3, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    monkeypatch.setenv(f"TFIMM_RESOLVER_{variable}", value)
    with pytest.raises(ArchiveError, match=f"s3://bucket/m: {words}") as caught:
        resolve(fill_bucket(MODEL))
    assert variable in caught.value.fix and [*cache_dir.iterdir()] == [] and list_requested_paths(s3, "GET") == ["/bucket"]


@pytest.mark.parametrize(
    ("handle", "words"),
    [
        ("s3://bucket/nothing", "found no objects below s3://bucket/nothing"),
        ("s3://missing/m", "s3://missing/m does not exist"),
        ("s3://bucket/nothing.tar.gz", "s3://bucket/nothing.tar.gz does not exist"),
        ("gs://bucket/nothing.tar.gz", "404"),
    ],
)
def test_a_missing_object_bucket_or_directory_is_an_error(handle: str, words: str, s3: S3, gcs: Gcs) -> None:
    with pytest.raises(NotFoundError, match=words) as caught:
        resolve(handle)
    assert caught.value.fix and not caught.value.is_passing


@pytest.mark.parametrize(
    ("name", "data"), [("m.tar.gz", tar_gz()), ("m.tgz", tar_gz()), ("m.zip", zip_of()), ("a b%20c/m.tar", TAR)]
)
def test_an_archive_is_unpacked(name: str, data: bytes, s3: S3) -> None:
    fill_s3({name: data})
    path = resolve(f"s3://bucket/{name}#sha256={sha256(data)}")
    assert files_in(path) == MODEL
    requests = len(s3.list_requests())
    assert resolve(f"s3://bucket/{name}") == path and len(s3.list_requests()) == requests


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "it is empty"), (tar_gz()[:-20], "it is truncated"), (b"no archive" * 100, "it is not a .tar")]
)
def test_a_damaged_archive_is_rejected(data: bytes, words: str, s3: S3, cache_dir: Path) -> None:
    fill_s3({"m.tar.gz": data})
    with pytest.raises(ArchiveError, match=words) as caught:
        resolve("s3://bucket/m.tar.gz")
    assert str(caught.value).startswith("s3://bucket/m.tar.gz") and [*cache_dir.iterdir()] == []


def test_a_pin_is_compared_for_archives_and_rejected_for_directories(s3: S3, cache_dir: Path) -> None:
    fill_s3({"m.tar.gz": tar_gz()})
    with pytest.raises(IntegrityError, match=f"received {sha256(tar_gz())}"):
        resolve("s3://bucket/m.tar.gz", sha256="0" * 64)
    assert [*cache_dir.iterdir()] == []
    for pinned in (fill_bucket(MODEL), "gs://bucket/m"):
        with pytest.raises(HandleError, match="only an archive can be pinned"):
            resolve(pinned, sha256="0" * 64)


@pytest.mark.parametrize(
    "handle",
    ["s3://bucket/m?versionId=secret", "s3://key:secret@bucket/m", "s3://key:secret@bucket/m.tar.gz", "gs://a:secret@b/m.zip"],
)
def test_a_handle_with_a_query_or_credentials_is_rejected_without_showing_them(handle: str) -> None:
    with pytest.raises(HandleError, match="more than a bucket and a path") as caught:
        resolve(handle)
    assert "secret" not in str(caught.value)


def test_the_error_in_offline_mode_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    for handle in ("s3://bucket/m", "s3://bucket/m.tar.gz", "gs://bucket/m.tar.gz"):
        with pytest.raises(
            OfflineError, match=f"{handle.rpartition('/')[0]}.* cannot be .*TFIMM_RESOLVER_OFFLINE is set"
        ) as caught:
            resolve(handle)
        assert "set_model_cache" in caught.value.fix


def test_a_directory_at_google_is_used_in_place_without_any_request(gcs: Gcs) -> None:
    assert resolve("GS://bucket/models/1/") == "gs://bucket/models/1/" and gcs.log == []


def test_a_public_archive_at_google_is_downloaded_in_ranges(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfimm_resolver.transfer.download.RANGE_BYTES", CHUNK_BYTES)
    gcs.bucket("public", token="secret", public=True).put("a b/m.tar.gz", tar_gz(LARGE))
    assert files_in(resolve("gs://public/a b/m.tar.gz")) == LARGE
    assert {(one.kind, one.status, one.authorization) for one in gcs.log} == {("get", 206, None)} and len(gcs.log) > 5


def test_chunks_are_downloaded_in_parallel_and_joined_in_order(handle: str, amazon: Gcs) -> None:
    assert files_in(resolve(handle)) == LARGE
    ranges = [one.headers["range"] for one in amazon.find_operations("get") if one.status == 206]
    assert len(ranges) > 20 and len({*ranges}) > 20


def test_an_object_that_is_replaced_meanwhile_is_an_error(handle: str, amazon: Gcs, cache_dir: Path) -> None:
    name = "m/variables/variables.data-00000-of-00001" if handle.endswith("m") else "m.tar.gz"
    bucket = amazon.buckets["bucket"]
    gate = amazon.on("get", name, nth=10, times=None).hold(undone=True)
    error: list[Exception] = []

    def download() -> None:
        try:
            resolve(handle)
        except ResolverError as one:
            error.append(one)

    thread = threading.Thread(target=download)
    thread.start()
    assert gate.reached.wait(60)
    bucket.put(name, bucket[name][::-1])
    gate.go.set()
    thread.join()
    assert isinstance(error[0], IntegrityError) and "changed while it was read" in str(error[0])
    assert [*cache_dir.iterdir()] == []


@pytest.mark.parametrize("fault", ["503", "reset"])
def test_a_transient_failure_is_retried(fault: str, handle: str, amazon: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "3")  # the 20th request may be a retry of the 9th
    for nth in (1, 9, 20):
        rule = amazon.on(nth=nth)
        rule.answer(503) if fault == "503" else rule.reset()
    assert files_in(resolve(handle)) == LARGE


@pytest.mark.parametrize(("fault", "words"), [("503", "HTTP 503"), ("reset", "could not be read"), ("hold", "did not answer")])
def test_a_permanent_failure_is_an_error_and_nothing_is_left_behind(
    fault: str, words: str, handle: str, amazon: Gcs, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "hold":
        monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "0.3")
    rule = amazon.on("get", nth=9, times=None)
    {"503": lambda: rule.answer(503), "reset": rule.reset, "hold": rule.hold}[fault]()
    with pytest.raises(FetchError, match=words) as caught:
        resolve(handle)
    assert caught.value.is_passing and "s3://bucket/m" in str(caught.value) and [*cache_dir.iterdir()] == []
    amazon.forget()
    assert files_in(resolve(handle)) == LARGE


def test_a_cached_copy_survives_a_refresh_that_fails(handle: str, amazon: Gcs) -> None:
    path = resolve(handle)
    amazon.on(times=None).answer(403)
    with pytest.raises(FetchError, match="the cached copy is unchanged"):
        resolve(handle, refresh=True)
    assert resolve(handle) == path and files_in(path) == LARGE


def test_many_small_files_cost_a_request_each_and_one_list(s3: S3) -> None:
    files = {f"assets/{number}": b"%d" % number for number in range(40)}
    handle = fill_bucket({**MODEL, **files})
    before = len(list_requested_paths(s3, "GET"))
    assert files_in(resolve(handle)) == {**MODEL, **files}
    assert len(list_requested_paths(s3, "GET")) - before == 1 + len(files) + len(MODEL)
