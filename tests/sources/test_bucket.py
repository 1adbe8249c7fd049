"""Models in buckets as sources: directories and archives of s3://, archives of gs://; what is refused, what breaks off."""

from __future__ import annotations

import hashlib
import random
import threading
from pathlib import Path

import pytest

from tests.archives import MODEL, files_in, member, tar_gz, tar_of, zip_of
from tests.buckets import fill_s3, paths_asked
from tests.stores.gcs import Gcs
from tests.stores.s3 import S3
from tests.test_cli import ran
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

PIECE_BYTES = 1000
TAR = tar_of(*(member(name, data) for name, data in MODEL.items()))
LARGE = {**MODEL, "variables/variables.data-00000-of-00001": random.Random(13).randbytes(20 * PIECE_BYTES)}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def filled(files: dict[str, bytes], place: str = "m") -> str:
    """The handle of a directory in S3 that holds these files."""
    fill_s3({f"{place}/{name}": data for name, data in files.items()})
    return f"s3://bucket/{place}"


@pytest.fixture
def amazon(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> Gcs:
    """A store that speaks Amazon's protocol as far as reading goes, and that can be held; pieces are small."""
    for variable, value in {"ENDPOINT_URL": gcs.url, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{variable}", value)
    monkeypatch.setattr(client, "CHUNK_BYTES", PIECE_BYTES)
    for name, data in LARGE.items():
        gcs.buckets["bucket"].put(f"m/{name}", data)
    gcs.buckets["bucket"].put("m.tar.gz", tar_gz(LARGE))
    return gcs


@pytest.fixture(params=["s3://bucket/m", "s3://bucket/m.tar.gz"], ids=["directory", "archive"])
def handle(request: pytest.FixtureRequest) -> str:
    handle: str = request.param
    return handle


def test_a_directory_comes_with_all_that_is_below_it_and_nothing_else(s3: S3) -> None:
    files = {**MODEL, "assets/a b%20c#dé&+~[1]/x.txt": b"x", "assets/empty": b""}
    handle = filled({**files, "": b"", "assets/": b"", "variables/": b"", "assets.extra/": b""})
    fill_s3({"mm/other": b"", "m.txt": b"", "other": b""})
    path = resolve(f"{handle}/")
    assert files_in(path) == files
    asked = len(s3.asked())
    assert resolve(handle) == path and len(s3.asked()) == asked


def test_a_directory_in_a_bucket_is_listed_and_verified_like_any_model(s3: S3) -> None:
    handle = filled(MODEL)
    path = Path(resolve(handle))
    (path / "saved_model.pb").write_bytes(b"b graph")
    assert handle in ran("ls")[1]
    code, out, _ = ran("verify", handle)
    assert code == 6 and "saved_model.pb has other bytes" in out
    assert ran("verify", "--repair", handle)[0] == 0 and files_in(path) == MODEL


def test_a_refresh_brings_what_lies_there_now(s3: S3) -> None:
    old = resolve(filled(MODEL))
    new = resolve(filled({"saved_model.pb": b"newer"}), refresh=True)
    assert new != old and files_in(old) == MODEL and files_in(new)["saved_model.pb"] == b"newer"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["../x"], "no directory can"),
        (["a/../../x"], "no directory can"),
        (["a//b"], "no directory can"),
        (["con"], "Windows cannot hold"),
        (["a/b."], "Windows cannot hold"),
        (["a:b"], "does not stay inside"),
        (["x\\..\\y"], "does not stay inside"),
        (["A", "a"], "differ in nothing but case"),
        (["a", "a/b"], "stands where another one does"),
        (["x" * 300], "over 255 bytes"),
        (["x\u202ey"], "not seen"),
    ],
)
def test_a_name_that_no_archive_may_hold_is_refused_and_nothing_is_kept(
    names: list[str], words: str, s3: S3, cache_dir: Path, tmp_path: Path
) -> None:
    handle = filled({"saved_model.pb": b"", **dict.fromkeys(names, b"x")})
    with pytest.raises(ArchiveError, match=words) as caught:
        resolve(handle)
    assert str(caught.value).startswith(handle) and not caught.value.is_passing
    assert [*cache_dir.iterdir()] == [] and [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [("MAX_BYTES", "100", "it unpacks to over 100 bytes"), ("MAX_MEMBERS", "2", "it has over 2 members")],
)
def test_what_is_over_a_limit_is_refused_before_any_of_it_is_asked_for(
    variable: str, value: str, words: str, s3: S3, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    monkeypatch.setenv(f"TFIMM_RESOLVER_{variable}", value)
    with pytest.raises(ArchiveError, match=f"s3://bucket/m: {words}") as caught:
        resolve(filled(MODEL))
    assert variable in caught.value.fix and [*cache_dir.iterdir()] == [] and paths_asked(s3, "GET") == ["/bucket"]


@pytest.mark.parametrize(
    ("handle", "words"),
    [
        ("s3://bucket/nothing", "there is nothing below s3://bucket/nothing"),
        ("s3://nobody/m", "s3://nobody/m is not there"),
        ("s3://bucket/nothing.tar.gz", "s3://bucket/nothing.tar.gz is not there"),
        ("gs://bucket/nothing.tar.gz", "404"),
    ],
)
def test_what_is_not_there_is_told(handle: str, words: str, s3: S3, gcs: Gcs) -> None:
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
    asked = len(s3.asked())
    assert resolve(f"s3://bucket/{name}") == path and len(s3.asked()) == asked


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "it is empty"), (tar_gz()[:-20], "it is cut short"), (b"no archive" * 100, "it is no .tar")]
)
def test_an_archive_that_is_damaged_is_refused(data: bytes, words: str, s3: S3, cache_dir: Path) -> None:
    fill_s3({"m.tar.gz": data})
    with pytest.raises(ArchiveError, match=words) as caught:
        resolve("s3://bucket/m.tar.gz")
    assert str(caught.value).startswith("s3://bucket/m.tar.gz") and [*cache_dir.iterdir()] == []


def test_a_pin_is_compared_for_archives_and_refused_for_directories(s3: S3, cache_dir: Path) -> None:
    fill_s3({"m.tar.gz": tar_gz()})
    with pytest.raises(IntegrityError, match=f"came   {sha256(tar_gz())}"):
        resolve("s3://bucket/m.tar.gz", sha256="0" * 64)
    assert [*cache_dir.iterdir()] == []
    for pinned in (filled(MODEL), "gs://bucket/m"):
        with pytest.raises(HandleError, match="only an archive can be pinned"):
            resolve(pinned, sha256="0" * 64)


@pytest.mark.parametrize(
    "handle",
    ["s3://bucket/m?versionId=secret", "s3://key:secret@bucket/m", "s3://key:secret@bucket/m.tar.gz", "gs://a:secret@b/m.zip"],
)
def test_a_handle_that_says_more_than_a_place_is_refused_without_showing_it(handle: str) -> None:
    with pytest.raises(HandleError, match="more than a bucket and a path") as caught:
        resolve(handle)
    assert "secret" not in str(caught.value)


def test_offline_it_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    for handle in ("s3://bucket/m", "s3://bucket/m.tar.gz", "gs://bucket/m.tar.gz"):
        with pytest.raises(
            OfflineError, match=f"{handle.rpartition('/')[0]}.* cannot be .*TFIMM_RESOLVER_OFFLINE is set"
        ) as caught:
            resolve(handle)
        assert "set_model_cache" in caught.value.fix


def test_a_directory_of_google_s_is_left_where_it_is_and_nobody_is_asked(gcs: Gcs) -> None:
    assert resolve("GS://bucket/models/1/") == "gs://bucket/models/1/" and gcs.log == []


def test_an_archive_of_google_s_that_everybody_may_read_comes_in_ranges(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfimm_resolver.transfer.download.RANGE_BYTES", PIECE_BYTES)
    gcs.bucket("public", token="secret", public=True).put("a b/m.tar.gz", tar_gz(LARGE))
    assert files_in(resolve("gs://public/a b/m.tar.gz")) == LARGE
    assert {(one.kind, one.status, one.authorization) for one in gcs.log} == {("get", 206, None)} and len(gcs.log) > 5


def test_pieces_come_at_once_and_in_order(handle: str, amazon: Gcs) -> None:
    assert files_in(resolve(handle)) == LARGE
    ranges = [one.headers["range"] for one in amazon.asked("get") if one.status == 206]
    assert len(ranges) > 20 and len({*ranges}) > 20


def test_an_object_that_is_replaced_meanwhile_is_no_mixture(handle: str, amazon: Gcs, cache_dir: Path) -> None:
    name = "m/variables/variables.data-00000-of-00001" if handle.endswith("m") else "m.tar.gz"
    bucket = amazon.buckets["bucket"]
    gate = amazon.on("get", name, nth=10, times=None).hold(undone=True)
    error: list[Exception] = []

    def bring() -> None:
        try:
            resolve(handle)
        except ResolverError as one:
            error.append(one)

    thread = threading.Thread(target=bring)
    thread.start()
    assert gate.reached.wait(60)
    bucket.put(name, bucket[name][::-1])
    gate.go.set()
    thread.join()
    assert isinstance(error[0], IntegrityError) and "changed while it was read" in str(error[0])
    assert [*cache_dir.iterdir()] == []


@pytest.mark.parametrize("fault", ["503", "reset"])
def test_a_failure_that_passes_is_not_noticed(fault: str, handle: str, amazon: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "3")  # the 20th request may be the 9th, asked again
    for nth in (1, 9, 20):
        rule = amazon.on(nth=nth)
        rule.answer(503) if fault == "503" else rule.reset()
    assert files_in(resolve(handle)) == LARGE


@pytest.mark.parametrize(("fault", "words"), [("503", "HTTP 503"), ("reset", "could not be read"), ("hold", "did not answer")])
def test_a_failure_that_stays_is_an_error_and_nothing_is_kept(
    fault: str, words: str, handle: str, amazon: Gcs, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "0.3")
    rule = amazon.on("get", nth=9, times=None)
    {"503": lambda: rule.answer(503), "reset": rule.reset, "hold": rule.hold}[fault]()
    with pytest.raises(FetchError, match=words) as caught:
        resolve(handle)
    assert caught.value.is_passing and "s3://bucket/m" in str(caught.value) and [*cache_dir.iterdir()] == []
    amazon.forget()
    assert files_in(resolve(handle)) == LARGE


def test_a_copy_that_is_there_outlives_a_refresh_that_fails(handle: str, amazon: Gcs) -> None:
    path = resolve(handle)
    amazon.on(times=None).answer(403)
    with pytest.raises(FetchError, match="the cached copy stays"):
        resolve(handle, refresh=True)
    assert resolve(handle) == path and files_in(path) == LARGE


def test_many_small_files_cost_a_request_each_and_one_list(s3: S3) -> None:
    files = {f"assets/{number}": b"%d" % number for number in range(40)}
    handle = filled({**MODEL, **files})
    before = len(paths_asked(s3, "GET"))
    assert files_in(resolve(handle)) == {**MODEL, **files}
    assert len(paths_asked(s3, "GET")) - before == 1 + len(files) + len(MODEL)
