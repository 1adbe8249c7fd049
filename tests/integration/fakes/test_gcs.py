"""The fake Google Cloud Storage behaves like the real one, as obstore sees it; its faults do what they say."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from packaging.version import Version

from tests.fakes.stores.control import TIMEOUT_S
from tests.fakes.stores.gcs import Gcs

obstore = pytest.importorskip("obstore")

from obstore import exceptions  # noqa: E402
from obstore.store import GCSStore  # noqa: E402

THREADS = 16


def make_client(gcs: Gcs, bucket: str = "bucket", token: str = "", **options: Any) -> GCSStore:
    """Return a client that does not retry and does not look for credentials."""
    options = {"allow_http": True, "timeout": "30s", **options}
    anonymous = {"skip_signature": not token, "bearer_token": token}
    return GCSStore(bucket, base_url=gcs.url, client_options=options, retry_config={"max_retries": 0}, **anonymous)


def list_paths(listed: Any) -> list[str]:
    return [entry["path"] for entry in listed]


def wait_until(condition: Any) -> None:
    """Wait for a condition, though not for ever."""
    until_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_an_object_exists_until_it_is_deleted(gcs: Gcs) -> None:
    store, name = make_client(gcs), "models/1/größe & co+1 %2F.txt"
    result = obstore.put(store, name, b"one")
    meta = obstore.head(store, name)
    assert (meta["path"], meta["size"], meta["version"]) == (name, 3, result["version"])
    assert obstore.get(store, name).bytes() == b"one" == gcs.buckets["bucket"][name]
    assert list_paths(obstore.list(store).collect()) == [name]
    obstore.delete(store, name)
    with pytest.raises(FileNotFoundError):
        obstore.get(store, name)
    with pytest.raises(FileNotFoundError, match="404"):
        obstore.delete(store, name)
    assert [(operation.kind, operation.status) for operation in gcs.log] == [
        ("put", 200), ("head", 200), ("get", 200), ("list", 200), ("delete", 204), ("get", 404), ("delete", 404)
    ]  # fmt: skip
    assert {operation.name for operation in gcs.log} == {name, ""}


@pytest.mark.parametrize("start", [None, b"before"], ids=["create", "update"])
def test_of_many_conditional_writes_at_once_one_wins(start: bytes | None, gcs: Gcs) -> None:
    store = make_client(gcs)
    mode: Any = "create" if start is None else obstore.put(store, "claim", start)
    gate = gcs.on("put", "claim", times=None).hold(undone=True)

    def claim(number: int) -> int | None:
        try:
            obstore.put(store, "claim", b"%d" % number, mode=mode)
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            return None
        return number

    with ThreadPoolExecutor(THREADS) as threads:
        claims = [threads.submit(claim, number) for number in range(THREADS)]
        wait_until(lambda: len(gcs.find_operations("put", "claim")) == THREADS + (start is not None))
        gate.go.set()
        winners = [claim.result() for claim in claims if claim.result() is not None]
    assert len(winners) == 1 and gcs.buckets["bucket"]["claim"] == b"%d" % winners[0]
    assert sorted(operation.status for operation in gcs.find_operations("put", "claim"))[-THREADS:] == [200] + [412] * (
        THREADS - 1
    )


@pytest.mark.parametrize("how", ["media", "multipart", "resumable"])
def test_the_json_api_enforces_generations_for_every_kind_of_upload(how: str, gcs: Gcs) -> None:
    bucket = gcs.buckets["bucket"]
    old = bucket.put("claim", b"before").generation

    def put(name: str, data: bytes, **conditions: int) -> int:
        query: dict[str, Any] = {"uploadType": how, **conditions}
        url, headers, body = f"{gcs.url}/upload/storage/v1/b/bucket/o", {}, data
        if how == "multipart":
            headers = {"Content-Type": "multipart/related; boundary=xxx"}
            metadata = b'Content-Type: application/json\r\n\r\n{"name": "%b"}' % name.encode()
            body = b"--xxx\r\n%b\r\n--xxx\r\nContent-Type: text/plain\r\n\r\n%b\r\n--xxx--" % (metadata, data)
        else:
            query["name"] = name
        response = requests.post(url, body if how != "resumable" else b"", params=query, headers=headers, timeout=30)
        if how == "resumable" and response.ok:
            half = len(data) // 2
            for first, part in ((0, data[:half]), (half, data[half:])):
                content_range = {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(data)}"}
                response = requests.put(
                    response.headers.get("Location", response.url), part, headers=content_range, timeout=30
                )
        return response.status_code

    assert put("claim", b"created", ifGenerationMatch=0) == put("claim", b"other", ifGenerationNotMatch=old) == 412
    assert put("claim", b"stale", ifGenerationMatch=old - 1) == 412 and bucket["claim"] == b"before"
    assert put("claim", b"updated", ifGenerationMatch=old) == 200 and bucket["claim"] == b"updated"
    assert put("new", b"created", ifGenerationMatch=0) == 200 and bucket["new"] == b"created"
    assert put("new", b"again") == 200 and bucket["new"] == b"again"


def test_a_condition_is_checked_again_when_a_resumable_upload_ends(gcs: Gcs) -> None:
    url = f"{gcs.url}/upload/storage/v1/b/bucket/o?uploadType=resumable&name=claim&ifGenerationMatch=0"
    upload_url = requests.post(url, timeout=30).headers["Location"]
    gcs.buckets["bucket"].put("claim", b"sooner")
    assert requests.put(upload_url, b"later", timeout=30).status_code == 412
    assert gcs.buckets["bucket"]["claim"] == b"sooner"


def test_a_resumable_upload_reports_what_it_received_and_accepts_the_rest(gcs: Gcs) -> None:
    url = f"{gcs.url}/upload/storage/v1/b/bucket/o?uploadType=resumable&name=big"
    upload_url = requests.post(url, timeout=30).headers["Location"]

    def put(data: bytes, content_range: str) -> tuple[int, str | None]:
        response = requests.put(upload_url, data, headers={"Content-Range": content_range}, timeout=30)
        return response.status_code, response.headers.get("Range")

    assert put(b"", "bytes */7") == (308, None)
    assert put(b"one", "bytes 0-2/7") == put(b"", "bytes */7") == put(b"one", "bytes 0-2/*") == (308, "bytes=0-2")
    assert put(b"four", "bytes 3-6/7") == (200, None)
    assert gcs.buckets["bucket"]["big"] == b"onefour"
    assert put(b"", "bytes */7")[0] == 404


def test_a_multipart_upload_appears_when_it_is_complete(gcs: Gcs) -> None:
    data, store = random.Random(3).randbytes(20_000_003), make_client(gcs)
    gate = gcs.on("complete").hold(undone=True)
    with ThreadPoolExecutor(1) as thread:
        put = thread.submit(obstore.put, store, "big", data, chunk_size=4 << 20)
        assert gate.reached.wait(TIMEOUT_S)
        assert "big" not in gcs.buckets["bucket"] and len(gcs.find_operations("part", "big")) == 5
        gate.go.set()
        put.result()
    assert gcs.buckets["bucket"]["big"] == data == obstore.get(store, "big").bytes()
    assert gcs.buckets["bucket"].uploads == {}


@pytest.mark.xfail(
    Version(obstore.__version__) < Version("0.12"), reason="obstore leaves its parts, up to its last version for Python 3.10"
)
def test_an_upload_whose_part_fails_is_aborted(gcs: Gcs) -> None:
    gcs.on("part", "big", nth=2).answer(500)
    with pytest.raises(exceptions.GenericError, match="500"):
        obstore.put(make_client(gcs), "big", bytes(12 << 20))
    wait_until(lambda: gcs.buckets["bucket"].uploads == {})
    assert "big" not in gcs.buckets["bucket"]


def test_more_than_a_thousand_names_are_listed_in_pages(gcs: Gcs) -> None:
    store, bucket = make_client(gcs), gcs.buckets["bucket"]
    expected = [f"a/{number:04}/{file}" for number in range(1250) for file in "xy"]
    for name in [*expected, "b", "a", "ab"]:
        bucket.put(name, b"")
    assert list_paths(obstore.list(store, "a").collect()) == expected and len(gcs.find_operations("list")) == 3
    listed = obstore.list_with_delimiter(store, "a")
    assert list_paths(listed["objects"]) == [] and listed["common_prefixes"] == [name[:-2] for name in expected[::2]]
    assert len(gcs.find_operations("list")) == 5
    assert list_paths(obstore.list_with_delimiter(store)["objects"]) == ["a", "ab", "b"]
    assert list_paths(obstore.list(store, offset="a/1249/x").collect()) == ["a/1249/y", "ab", "b"]


def test_ranges_are_cut_out(gcs: Gcs) -> None:
    store, data = make_client(gcs), bytes(range(100))
    obstore.put(store, "x", data)
    assert obstore.get_range(store, "x", start=10, length=5) == data[10:15]
    assert obstore.get_range(store, "x", start=95, length=50) == data[95:]
    assert obstore.get(store, "x", options={"range": {"offset": 90}}).bytes() == data[90:]
    assert obstore.get(store, "x", options={"range": {"suffix": 7}}).bytes() == data[-7:]
    assert {operation.status for operation in gcs.find_operations("get")} == {206}
    with pytest.raises(exceptions.GenericError, match="416"):
        obstore.get_range(store, "x", start=100, length=1)


def test_reads_honour_conditions(gcs: Gcs) -> None:
    store = make_client(gcs)
    old = obstore.put(store, "x", b"old")
    new = obstore.put(store, "x", b"new")
    assert obstore.get(store, "x", options={"if_match": new["e_tag"]}).bytes() == b"new"
    assert obstore.get(store, "x", options={"if_none_match": old["e_tag"]}).bytes() == b"new"
    with pytest.raises(exceptions.PreconditionError):
        obstore.get(store, "x", options={"if_match": old["e_tag"]})
    with pytest.raises(exceptions.NotModifiedError):
        obstore.get(store, "x", options={"if_none_match": new["e_tag"]})
    with pytest.raises(FileNotFoundError):
        obstore.get(store, "x", options={"version": old["version"]})
    assert obstore.put(store, "x", b"old")["e_tag"] == old["e_tag"]  # as at Google, an ETag is a hash of the content


def test_copies_and_renames_respect_existing_objects(gcs: Gcs) -> None:
    store, bucket = make_client(gcs), gcs.buckets["bucket"]
    obstore.put(store, "a b", b"one")
    obstore.copy(store, "a b", "copy", overwrite=False)
    with pytest.raises(exceptions.AlreadyExistsError):
        obstore.copy(store, "a b", "copy", overwrite=False)
    obstore.rename(store, "copy", "renamed")
    assert bucket.files() == {"a b": b"one", "renamed": b"one"}
    move = requests.post(f"{gcs.url}/storage/v1/b/bucket/o/renamed/moveTo/o/moved%20on", timeout=30)
    assert move.json()["name"] == "moved on" and bucket.files() == {"a b": b"one", "moved on": b"one"}


def test_a_private_bucket_requires_its_token(gcs: Gcs) -> None:
    private = gcs.bucket("private", token="secret")
    private.put("x", b"one")
    anonymous, owner, other = (make_client(gcs, "private", token) for token in ("", "secret", "wrong"))
    assert obstore.get(owner, "x").bytes() == b"one" and list_paths(obstore.list(owner).collect()) == ["x"]
    with pytest.raises(exceptions.PermissionDeniedError, match="403"):
        obstore.get(anonymous, "x")
    with pytest.raises(exceptions.GenericError, match="403"):
        obstore.list(anonymous).collect()
    for stranger in (anonymous, other):
        with pytest.raises(exceptions.UnauthenticatedError, match="401"):
            obstore.put(stranger, "x", b"two")
    assert requests.get(f"{gcs.url}/storage/v1/b/private/o/x", timeout=30).status_code == 401
    assert private["x"] == b"one"
    assert [operation.authorization for operation in gcs.find_operations("get")] == ["Bearer secret", None]


def test_anyone_may_read_a_public_bucket_and_only_its_owner_write(gcs: Gcs) -> None:
    public = gcs.bucket("public", token="secret", public=True)
    obstore.put(make_client(gcs, "public", "secret"), "x", b"one")
    assert obstore.get(make_client(gcs, "public"), "x").bytes() == b"one"
    with pytest.raises(exceptions.UnauthenticatedError):
        obstore.put(make_client(gcs, "public"), "x", b"two")
    assert requests.put(f"{gcs.url}/public/x", b"two", timeout=30).status_code == 403
    assert public["x"] == b"one"


def test_other_buckets_do_not_exist(gcs: Gcs) -> None:
    with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
        obstore.get(make_client(gcs, "other"), "x")
    with pytest.raises(FileNotFoundError, match="NoSuchBucket"):
        obstore.put(make_client(gcs, "other"), "x", b"")


def test_the_metadata_server_grants_its_token(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    private, gcs.token = gcs.bucket("private", token="of the machine"), "of the machine"
    monkeypatch.setenv("GCE_METADATA_HOST", gcs.url.removeprefix("http://"))
    store = GCSStore("private", base_url=gcs.url, client_options={"allow_http": True}, retry_config={"max_retries": 0})
    obstore.put(store, "x", b"one")
    assert private["x"] == b"one" and [operation.kind for operation in gcs.log] == ["token", "put"]


def test_by_default_a_test_finds_no_metadata_server(gcs: Gcs) -> None:
    store = GCSStore("bucket", base_url=gcs.url, client_options={"allow_http": True}, retry_config={"max_retries": 0})
    with pytest.raises(exceptions.GenericError, match="1/computeMetadata"):
        obstore.get(store, "x")
    assert gcs.log == []


def test_a_fault_affects_the_matches_that_it_was_made_for(gcs: Gcs) -> None:
    store = make_client(gcs)
    gcs.on("put", "a/*", nth=2, times=2).answer(403)
    gcs.on("get", times=None).answer(404)
    for name in ("a/1", "b", "a/2", "a/3", "a/4"):
        try:
            obstore.put(store, name, b"")
        except exceptions.PermissionDeniedError:
            assert name in ("a/2", "a/3")
    assert [*gcs.buckets["bucket"].files()] == ["a/1", "a/4", "b"]
    for name in ("b", "b"):
        with pytest.raises(FileNotFoundError):
            obstore.get(store, name)
    gcs.forget()
    assert obstore.get(store, "b").bytes() == b"" and len(gcs.log) == 1


@pytest.mark.parametrize("is_done", [False, True], ids=["reset", "lost"])
def test_a_connection_is_reset_before_or_after_the_operation(is_done: bool, gcs: Gcs) -> None:
    rule = gcs.on("put", "x")
    rule.lose() if is_done else rule.reset()
    with pytest.raises(exceptions.GenericError, match="error sending request"):
        obstore.put(make_client(gcs), "x", b"one", mode="create")
    assert ("x" in gcs.buckets["bucket"]) == is_done
    assert [operation.status for operation in gcs.log] == [0]


@pytest.mark.parametrize("undone", [False, True])
def test_a_gate_holds_the_response_or_the_operation(undone: bool, gcs: Gcs) -> None:
    gate = gcs.on("put", "x").hold(undone=undone)
    with ThreadPoolExecutor(1) as thread:
        put = thread.submit(obstore.put, make_client(gcs), "x", b"one")
        assert gate.reached.wait(TIMEOUT_S)
        assert ("x" in gcs.buckets["bucket"]) == (not undone) and not put.done()
        obstore.put(make_client(gcs), "y", b"another is not held")
        gate.go.set()
        put.result()
    assert gcs.buckets["bucket"].files() == {"x": b"one", "y": b"another is not held"}


def test_each_operation_takes_at_least_the_latency(gcs: Gcs) -> None:
    gcs.latency_s = 0.2
    obstore.put(make_client(gcs), "x", b"one")
    (operation,) = gcs.log
    assert operation.duration_s >= 0.2 and operation.received_bytes == 3


def test_an_incomplete_body_has_no_effect(gcs: Gcs) -> None:
    with socket.create_connection(("127.0.0.1", gcs.port)) as connection:
        connection.sendall(b"PUT /bucket/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert gcs.log == [] and "x" not in gcs.buckets["bucket"]


def test_an_unsupported_operation_is_rejected(gcs: Gcs) -> None:
    for method, path in (
        ("POST", "/bucket/x?acl"),
        ("PATCH", "/storage/v1/b/bucket/o/x"),
        ("GET", "/storage/v1/b/bucket/acl"),
    ):
        assert requests.request(method, gcs.url + path, timeout=30).status_code in (404, 501)


def test_closing_the_store_releases_waiting_requests() -> None:
    with Gcs() as gcs:
        gcs.bucket()
        gcs.on("put").hold(undone=True)
        url = f"{gcs.url}/bucket/x"

        def put_until_closed() -> None:
            with contextlib.suppress(requests.ConnectionError):  # as the server closes, it may still answer, or not
                requests.put(url, b"one", timeout=30)

        put = threading.Thread(target=put_until_closed)
        put.start()
        wait_until(lambda: len(gcs.log) == 1)
    put.join(TIMEOUT_S)
    assert not put.is_alive()
