"""ObjectStoreClient: what is written is read, conditions hold, names survive, and errors say what happened."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.buckets import fill_s3, wait_until
from tests.fakes.processes import run, start
from tests.fakes.stores.control import Operation
from tests.fakes.stores.front import Front
from tests.fakes.stores.gcs import Gcs, Request, Response
from tests.fakes.stores.s3 import S3
from tfimm_resolver.errors import (
    AccessError,
    ArchiveError,
    FetchError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    TransferTimeoutError,
)
from tfimm_resolver.object_store import client
from tfimm_resolver.object_store.client import ObjectStoreClient

LARGE = random.Random(11).randbytes(2 * client.CHUNK_BYTES + 5)
NAMES = ["saved_model.pb", "a b%20c#dé&+~[1]/x.txt", "größe/日本.txt", "0", "a/b/c/d", "100%", "=x"]


@pytest.fixture(params=["gs", "s3"])
def objects(request: pytest.FixtureRequest) -> ObjectStoreClient:
    """A client for an empty prefix, for each kind of store."""
    request.getfixturevalue({"gs": "gcs", "s3": "s3"}[request.param])
    return ObjectStoreClient(f"{request.param}://bucket/below/it")


@pytest.fixture
def google(gcs: Gcs) -> ObjectStoreClient:
    """A client for an empty prefix in a bucket of Google's."""
    return ObjectStoreClient("gs://bucket/below/it")


def make_sparse_file(path: Path, size_bytes: int) -> None:
    """Create a large file that takes no disk space."""
    with path.open("wb") as file:
        file.truncate(size_bytes)


def read(objects: ObjectStoreClient, name: str) -> bytes | None:
    found = objects.read(name)
    return found and found[0]


def test_an_object_that_is_too_large_for_a_record_is_not_read(
    objects: ObjectStoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.write("x", b"a" * 9)
    monkeypatch.setattr(client, "_SMALL_OBJECT_BYTES_MAX", 9)
    assert read(objects, "x") == b"a" * 9
    monkeypatch.setattr(client, "_SMALL_OBJECT_BYTES_MAX", 8)
    with pytest.raises(FetchError, match="/below/it/x has 9 bytes, too many for a record"):
        objects.read("x")


def test_what_is_written_is_read_and_a_missing_object_is_none(objects: ObjectStoreClient) -> None:
    assert objects.read("x") is None
    objects.write("x", b"one")
    objects.write("x", b"two")
    assert read(objects, "x") == b"two"
    objects.delete(["x", "never"])
    objects.delete([])
    assert objects.read("x") is None


def test_an_object_is_created_once_and_replaced_only_in_the_known_version(objects: ObjectStoreClient) -> None:
    first = objects.create("x", b"one")
    assert first is not None and objects.create("x", b"other") is None
    second = objects.replace("x", b"two", first)
    assert second is not None and second != first
    assert objects.replace("x", b"stale", first) is None and read(objects, "x") == b"two"
    found = objects.read("x")
    assert found is not None and objects.replace("x", b"three", found[1]) is not None
    objects.delete(["x"])
    assert objects.replace("x", b"gone", second) is None and objects.read("x") is None


def test_files_are_uploaded_and_downloaded_whatever_their_names_and_sizes(objects: ObjectStoreClient, tmp_path: Path) -> None:
    expected = {name: name.encode() for name in NAMES} | {"large": LARGE, "empty": b""}
    for number, data in enumerate(expected.values()):
        (tmp_path / str(number)).write_bytes(data)
    objects.upload({f"m/{name}": tmp_path / str(number) for number, name in enumerate(expected)})
    model = ObjectStoreClient(f"{objects.url}/m")
    found = model.list_files()
    assert {info.name: info.size_bytes for info in found} == {name: len(data) for name, data in expected.items()}
    received = {info.name: b"".join(chunks) for info, chunks in model.stream_objects(found, 3)}
    assert received == expected
    assert {info.name for info in objects.list_objects("m")} == {f"m/{name}" for name in expected}
    assert objects.list_objects("n") == []


def test_the_top_level_is_the_folders_and_objects_directly_below_the_prefix(objects: ObjectStoreClient) -> None:
    for name in ("a/b/c", "a/d", "e", "ab"):
        objects.write(name, b"x")
    folders, found = objects.list_top_level()
    assert (folders, sorted(info.name for info in found)) == (["a"], ["ab", "e"])


def test_a_directory_placeholder_is_not_a_file_and_an_empty_file_is_one(s3: S3) -> None:
    fill_s3({"m/": b"", "m/assets/": b"", "m/variables/": b"", "m/variables/index": b"i", "m/empty": b""})
    assert sorted(found.name for found in ObjectStoreClient("s3://bucket/m").list_files()) == ["empty", "variables/index"]


def test_a_listing_is_given_up_at_the_limit_of_members(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_s3({f"m/{number}": b"x" for number in range(5)})
    client = ObjectStoreClient("s3://bucket/m")
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_MEMBERS", "3")
    assert len(client.list_objects()) == 5, "placeholders of folders do not count against the model"
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_MEMBERS", "2")
    with pytest.raises(ArchiveError, match="s3://bucket/m lists over 4 objects"):
        client.list_objects()


@pytest.mark.parametrize("name", ["../x", "a/../x", "a//x", "./x"])
def test_an_object_name_that_cannot_be_a_file_path_is_an_error(name: str, s3: S3) -> None:
    fill_s3({"m/saved_model.pb": b"", f"m/{name}": b""})
    with pytest.raises(ArchiveError, match="s3://bucket/m contains an object name that cannot be a file path") as caught:
        ObjectStoreClient("s3://bucket/m").list_objects()
    assert not caught.value.is_passing


def test_an_object_that_is_replaced_between_two_ranges_is_an_error(objects: ObjectStoreClient, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(LARGE)
    objects.upload({"large": tmp_path / "large"})
    for info, chunks in objects.stream_objects([objects.get_info("large")], 1):
        assert len(next(chunks)) == client.CHUNK_BYTES  # the next is under way, or not yet
        objects.write(info.name, LARGE[::-1])
        with pytest.raises(IntegrityError, match="changed while it was read"):
            list(chunks)


def test_an_object_that_is_shorter_than_expected_is_an_error(objects: ObjectStoreClient) -> None:
    for data in (b"sho", b""):
        objects.write("x", data)
        found = client.ObjectInfo("x", 5, 0, "")
        with pytest.raises(IntegrityError, match=r"/x (returned 3 bytes where 5|is shorter than expected)"):
            [list(chunks) for _, chunks in objects.stream_objects([found], 1)]


def test_no_more_requests_run_at_once_than_allowed(gcs: Gcs, google: ObjectStoreClient) -> None:
    for number in range(9):
        google.write(str(number), b"%d" % number)
    gate = gcs.on("get", times=None).hold()
    received: list[bytes] = []
    found = google.list_objects()

    def download() -> None:
        received.extend(b"".join(chunks) for _, chunks in google.stream_objects(found, 3))

    thread = threading.Thread(target=download)
    thread.start()
    wait_until(lambda: len(gcs.find_operations("get")) == 3)
    threading.Event().wait(0.2)
    assert len(gcs.find_operations("get")) == 3 and received == []
    gate.go.set()
    thread.join()
    assert received == [b"%d" % number for number in range(9)]


def test_only_a_few_parts_of_large_files_are_uploaded_at_once(gcs: Gcs, google: ObjectStoreClient, tmp_path: Path) -> None:
    for name in "abcdef":
        make_sparse_file(tmp_path / name, 4 * client.CHUNK_BYTES + 5)
    gate = gcs.on("part", times=None).hold()
    thread = threading.Thread(target=google.upload, args=({name: tmp_path / name for name in "abcdef"},))
    thread.start()
    wait_until(lambda: len(gcs.find_operations("part")) >= 12)
    threading.Event().wait(0.3)
    assert sorted(info.name[-1] for info in gcs.find_operations("part")) == [*"aaabbbcccddd"]
    gate.go.set()
    thread.join()
    assert len(gcs.find_operations("complete")) == 6


def test_files_of_one_to_eight_megabytes_are_not_all_uploaded_at_once(
    gcs: Gcs, google: ObjectStoreClient, tmp_path: Path
) -> None:
    for name in "abcdef":
        (tmp_path / name).write_bytes(LARGE[: client.CHUNK_BYTES - 1])
    gate = gcs.on("put", times=None).hold()
    thread = threading.Thread(target=google.upload, args=({name: tmp_path / name for name in "abcdef"},))
    thread.start()
    wait_until(lambda: len(gcs.find_operations("put")) == 4)
    threading.Event().wait(0.3)
    assert len(gcs.find_operations("put")) == 4
    gate.go.set()
    thread.join()
    assert len(gcs.find_operations("put")) == 6


def test_a_file_is_uploaded_in_no_more_parts_than_stores_accept(
    gcs: Gcs, google: ObjectStoreClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_MAX_PARTS", 2)
    (tmp_path / "x").write_bytes(LARGE)
    google.upload({"x": tmp_path / "x"})
    assert len(gcs.find_operations("part")) == 2
    assert gcs.buckets["bucket"].files("below/it/") == {"x": LARGE}


@pytest.mark.parametrize(
    ("files", "at_once"), [(1, 12), *(pytest.param(files, 12, marks=pytest.mark.long) for files in (2, 6)), (40, 4)]
)
def test_an_upload_takes_little_memory_for_any_number_of_files(files: int, at_once: int, gcs: Gcs, tmp_path: Path) -> None:
    for number in range(files):
        make_sparse_file(tmp_path / f"{number}.shard", (300 << 20) // files)
    gates = [gcs.on(kind, times=None).hold() for kind in ("part", "put")]
    code = """
        import pathlib, re, sys
        from tfimm_resolver.object_store.client import ObjectStoreClient

        def memory_mb(what):
            return int(re.search(what + r":\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1e3

        before_mb = memory_mb("VmRSS")
        ObjectStoreClient("gs://bucket").upload({path.name: path for path in pathlib.Path(sys.argv[1]).glob("*.shard")})
        print(memory_mb("VmHWM") - before_mb)
    """
    with start(code, str(tmp_path)) as process:
        try:
            wait_until(lambda: len(gcs.find_operations("p[au]*t")) >= at_once)
            threading.Event().wait(0.3)  # no request is answered yet: memory use is at its peak
            for gate in gates:
                gate.go.set()
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert float(out) < 200
    assert len(gcs.buckets["bucket"].files()) == files


@pytest.mark.parametrize(
    ("fault", "operation"),
    [(fault, operation) for fault in ("503", "reset") for operation in ("read", "write", "get_info", "list", "upload")]
    + [
        ("503", "create"),
        ("503", "delete"),
    ],  # not "reset": what may have been executed and is not safe to repeat is not retried
)
def test_a_transient_failure_is_retried(
    fault: str, operation: str, gcs: Gcs, google: ObjectStoreClient, tmp_path: Path
) -> None:
    if operation != "create":
        google.write("x", b"one")
    (tmp_path / "x").write_bytes(b"two")
    rule = gcs.on()
    rule.answer(503) if fault == "503" else rule.reset()
    operations: dict[str, Callable[[], object]] = {
        "read": lambda: google.read("x"),
        "get_info": lambda: google.get_info("x"),
        "list": google.list_objects,
        "write": lambda: google.write("x", b"two"),
        "create": lambda: google.create("x", b"two"),
        "upload": lambda: google.upload({"x": tmp_path / "x"}),
        "delete": lambda: google.delete(["x"]),
    }
    operations[operation]()
    assert rule.seen == 2
    left = gcs.buckets["bucket"].files("below/it/").get("x")
    assert left == (None if operation == "delete" else b"two" if operation in ("write", "create", "upload") else b"one")


def test_an_operation_that_is_not_safe_to_repeat_fails_with_the_cause(gcs: Gcs, google: ObjectStoreClient) -> None:
    for operation in (lambda: google.create("x", b"one"), lambda: google.delete(["x"])):
        gcs.on(times=None).lose()
        with pytest.raises(FetchError, match=r"could not be written: .*error sending request") as caught:
            operation()
        assert type(caught.value) is FetchError and caught.value.is_passing


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, AccessError, "cannot be read without credentials (HTTP 401)"),
        (403, AccessError, "cannot be read without credentials (HTTP 403)"),
        (404, NotFoundError, "does not exist"),
        (400, FetchError, "could not be read: HTTP 400"),
        (429, FetchError, "could not be read: HTTP 429"),
        (500, FetchError, "could not be read: HTTP 500"),
        (503, FetchError, "could not be read: HTTP 503"),
    ],
)
@pytest.mark.parametrize("operation", ["get_info", "list"])
def test_an_error_names_the_object_the_status_and_the_credentials(
    operation: str, status: int, kind: type[FetchError], words: str, gcs: Gcs, google: ObjectStoreClient
) -> None:
    gcs.on(times=None).answer(status)
    with pytest.raises(kind) as caught:
        google.get_info("x") if operation == "get_info" else google.list_objects("x")
    text = str(caught.value)
    assert type(caught.value) is kind and text.startswith("gs://bucket/below/it/x ") and words in text
    assert caught.value.fix and len(text) < 300
    assert caught.value.is_passing == (status >= 429) and len(gcs.log) == 1 + (status >= 429)


@pytest.mark.parametrize("status", [301, 400])
def test_the_error_for_a_bucket_in_another_region_says_what_to_set(
    status: int, gcs: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {"ENDPOINT_URL": gcs.url, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{variable}", value)

    def respond(request: Request, operation: Operation) -> Response:
        body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region is wrong</Message><X>a</X></Error>"
        return Response(status, body.encode())

    monkeypatch.setattr(gcs, "respond", respond)
    for operation in (lambda: ObjectStoreClient("s3://bucket").read("x"), ObjectStoreClient("s3://bucket").list_objects):
        with pytest.raises(FetchError, match=r"HTTP 400: the region is wrong|configured region") as caught:
            operation()
        assert "AWS_DEFAULT_REGION" in caught.value.fix and not caught.value.is_passing


def test_a_bucket_that_does_not_exist_is_an_error(gcs: Gcs) -> None:
    nowhere = ObjectStoreClient("gs://nowhere/x")
    with pytest.raises(NotFoundError, match="Check the bucket's name"):
        nowhere.write("y", b"")
    with pytest.raises(NotFoundError, match="Check the bucket's name"):
        nowhere.list_objects()


def test_a_denied_write_is_reported_as_a_write(gcs: Gcs) -> None:
    gcs.bucket("public", token="secret", public=True).put("x", b"one")
    public = ObjectStoreClient("gs://public")
    assert read(public, "x") == b"one"
    for write in (lambda: public.write("x", b"two"), lambda: public.create("y", b""), lambda: public.delete(["x"])):
        with pytest.raises(AccessError, match=r"cannot be written without credentials \(HTTP 40[13]\)"):
            write()


def test_a_store_that_does_not_answer_is_a_timeout(
    gcs: Gcs, google: ObjectStoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "0.2")
    gcs.on(times=None).hold()
    operations = (
        lambda: google.read("x"),
        google.list_objects,
        lambda: google.write("x", b""),
        lambda: google.create("x", b""),
    )
    for operation in (*operations, lambda: google.delete(["x"])):
        with pytest.raises(TransferTimeoutError, match="did not answer in time"):
            operation()


def test_a_store_that_refuses_connections_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    for operation in (ObjectStoreClient("gs://bucket/x").list_objects, lambda: ObjectStoreClient("gs://bucket").read("x")):
        with pytest.raises(OfflineError, match="gs://bucket/x cannot be reached"):
            operation()


def test_an_untrusted_certificate_is_an_error_and_a_ca_can_be_set(
    gcs: Gcs, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("https_proxy", front.url)
    with pytest.raises(FetchError, match="its TLS certificate is not trusted") as caught:
        ObjectStoreClient("gs://bucket").read("x")
    assert "SSL_CERT_FILE" in caught.value.fix and not caught.value.is_passing
    assert "the system's certificates" in str(caught.value) and "certifi" in str(caught.value)
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(front.bundle.parent if variable == "SSL_CERT_DIR" else front.bundle))
            assert ObjectStoreClient("gs://bucket").read("x") is None
    assert len(gcs.find_operations("get", "x")) == 4


@pytest.mark.parametrize("value", ["*", "127.0.0.1", "127.0.0.0/8", "127.0.0.1:{port}", "example.org, *"])
def test_no_proxy_holds_for_a_bucket_in_all_its_forms(value: str, gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", value.format(port=gcs.url.rpartition(":")[2]))
    assert ObjectStoreClient("gs://bucket").read("x") is None
    monkeypatch.setenv("no_proxy", "example.org")
    with pytest.raises(OfflineError):
        ObjectStoreClient("gs://bucket").read("x")


def test_a_proxy_that_is_not_a_url_is_the_variables_error(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:99999")
    with pytest.raises(FetchError, match="http_proxy does not hold the URL of a proxy"):
        ObjectStoreClient("gs://bucket").read("x")


def test_amazons_own_variable_names_the_certificates_for_its_buckets_only(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfimm_resolver.object_store import network

    monkeypatch.setenv("AWS_CA_BUNDLE", str(front.bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    assert network.choose_ca_sources("s3").description == f"AWS_CA_BUNDLE={front.bundle}"
    assert network.choose_ca_sources("gs").description == f"REQUESTS_CA_BUNDLE={tmp_path}"
    assert "BEGIN CERTIFICATE" in network.make_client_options("s3", "https://s3.example.org")["root_certificate"]


def test_offline_mode_does_not_even_load_the_library() -> None:
    code = """
        import sys
        from tfimm_resolver.errors import OfflineError
        from tfimm_resolver.object_store.client import ObjectStoreClient
        for url in ("gs://bucket/x", "s3://bucket/x"):
            client = ObjectStoreClient(url)
            for operation in (lambda: client.read("y"), client.list_objects, lambda: client.write("y", b"")):
                try:
                    operation()
                except OfflineError as error:
                    assert error.text.startswith(url) and "set_model_cache" in error.fix, error
                else:
                    raise AssertionError
        print({"obstore", "botocore", "google.auth", "socket"}.intersection(sys.modules))
    """
    assert run(code, TFIMM_RESOLVER_OFFLINE="1") == "set()"


def test_a_bucket_in_memory_lasts_as_long_as_the_process() -> None:
    code = """
        from tfimm_resolver.object_store.client import ObjectStoreClient
        objects = ObjectStoreClient("memory://here/below")
        print(objects.read("x"))
        made = objects.create("x", b"one")
        assert made and objects.create("x", b"two") is None and objects.replace("x", b"two", made)
        print(ObjectStoreClient("memory://here").read("below/x")[0], ObjectStoreClient("memory://there/below").read("x"))
    """
    assert run(code) == run(code) == "None\nb'two' None"
