"""ObjectStoreClient in a bucket: what is written is read, conditions hold, names survive, and errors say what happened."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.buckets import fill_s3, until
from tests.processes import run, start
from tests.stores.control import Operation
from tests.stores.front import Front
from tests.stores.gcs import Gcs, Reply, Request
from tests.stores.s3 import S3
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
    """An empty place in a bucket of each store."""
    request.getfixturevalue({"gs": "gcs", "s3": "s3"}[request.param])
    return ObjectStoreClient(f"{request.param}://bucket/below/it")


@pytest.fixture
def google(gcs: Gcs) -> ObjectStoreClient:
    """An empty place in a bucket of Google's."""
    return ObjectStoreClient("gs://bucket/below/it")


def zeros(path: Path, size_bytes: int) -> None:
    """A large file that takes no room."""
    with path.open("wb") as file:
        file.truncate(size_bytes)


def read(objects: ObjectStoreClient, name: str) -> bytes | None:
    found = objects.read(name)
    return found and found[0]


def test_what_is_written_is_read_and_what_is_not_there_is_none(objects: ObjectStoreClient) -> None:
    assert objects.read("x") is None
    objects.write("x", b"one")
    objects.write("x", b"two")
    assert read(objects, "x") == b"two"
    objects.delete(["x", "never"])
    objects.delete([])
    assert objects.read("x") is None


def test_an_object_is_created_once_and_replaced_only_as_it_is_known(objects: ObjectStoreClient) -> None:
    first = objects.create("x", b"one")
    assert first is not None and objects.create("x", b"other") is None
    second = objects.replace("x", b"two", first)
    assert second is not None and second != first
    assert objects.replace("x", b"stale", first) is None and read(objects, "x") == b"two"
    found = objects.read("x")
    assert found is not None and objects.replace("x", b"three", found[1]) is not None
    objects.delete(["x"])
    assert objects.replace("x", b"gone", second) is None and objects.read("x") is None


def test_files_go_up_and_come_back_whatever_their_names_and_sizes(objects: ObjectStoreClient, tmp_path: Path) -> None:
    wanted = {name: name.encode() for name in NAMES} | {"large": LARGE, "empty": b""}
    for number, data in enumerate(wanted.values()):
        (tmp_path / str(number)).write_bytes(data)
    objects.upload({f"m/{name}": tmp_path / str(number) for number, name in enumerate(wanted)})
    model = ObjectStoreClient(f"{objects.place}/m")
    found = model.files()
    assert {one.name: one.size_bytes for one in found} == {name: len(data) for name, data in wanted.items()}
    came = {one.name: b"".join(pieces) for one, pieces in model.streams(found, 3)}
    assert came == wanted
    assert {one.name for one in objects.below("m")} == {f"m/{name}" for name in wanted}
    assert objects.below("n") == []


def test_the_top_is_what_lies_there_and_no_more_than_the_first_part_of_what_is_below(objects: ObjectStoreClient) -> None:
    for name in ("a/b/c", "a/d", "e", "ab"):
        objects.write(name, b"x")
    folders, found = objects.top()
    assert (folders, sorted(one.name for one in found)) == (["a"], ["ab", "e"])


def test_a_marker_of_a_directory_is_no_file_and_an_empty_file_is_one(s3: S3) -> None:
    fill_s3({"m/": b"", "m/assets/": b"", "m/variables/": b"", "m/variables/index": b"i", "m/empty": b""})
    assert sorted(found.name for found in ObjectStoreClient("s3://bucket/m").files()) == ["empty", "variables/index"]


@pytest.mark.parametrize("name", ["../x", "a/../x", "a//x", "./x"])
def test_a_name_that_no_directory_can_hold_is_told_as_such(name: str, s3: S3) -> None:
    fill_s3({"m/saved_model.pb": b"", f"m/{name}": b""})
    with pytest.raises(ArchiveError, match="s3://bucket/m holds a name that no directory can") as caught:
        ObjectStoreClient("s3://bucket/m").below()
    assert not caught.value.is_passing


def test_an_object_that_is_replaced_between_two_ranges_is_no_mixture(objects: ObjectStoreClient, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(LARGE)
    objects.upload({"large": tmp_path / "large"})
    for one, pieces in objects.streams([objects.find("large")], 1):
        assert len(next(pieces)) == client.CHUNK_BYTES  # the next is under way, or not yet
        objects.write(one.name, LARGE[::-1])
        with pytest.raises(IntegrityError, match="changed while it was read"):
            list(pieces)


def test_an_object_that_is_shorter_than_was_known_is_told(objects: ObjectStoreClient) -> None:
    for data in (b"sho", b""):
        objects.write("x", data)
        found = client.ObjectInfo("x", 5, 0, "")
        with pytest.raises(IntegrityError, match=r"/x (gave 3 bytes where 5|is shorter)"):
            [list(pieces) for _, pieces in objects.streams([found], 1)]


def test_no_more_requests_are_under_way_than_were_asked_for(gcs: Gcs, google: ObjectStoreClient) -> None:
    for number in range(9):
        google.write(str(number), b"%d" % number)
    gate = gcs.on("get", times=None).hold()
    came: list[bytes] = []
    found = google.below()

    def bring() -> None:
        came.extend(b"".join(pieces) for _, pieces in google.streams(found, 3))

    thread = threading.Thread(target=bring)
    thread.start()
    until(lambda: len(gcs.asked("get")) == 3)
    threading.Event().wait(0.2)
    assert len(gcs.asked("get")) == 3 and came == []
    gate.go.set()
    thread.join()
    assert came == [b"%d" % number for number in range(9)]


def test_only_a_few_parts_of_large_files_go_up_at_once(gcs: Gcs, google: ObjectStoreClient, tmp_path: Path) -> None:
    for name in "abcdef":
        zeros(tmp_path / name, 4 * client.CHUNK_BYTES + 5)
    gate = gcs.on("part", times=None).hold()
    thread = threading.Thread(target=google.upload, args=({name: tmp_path / name for name in "abcdef"},))
    thread.start()
    until(lambda: len(gcs.asked("part")) >= 12)
    threading.Event().wait(0.3)
    assert sorted(one.name[-1] for one in gcs.asked("part")) == [*"aaabbbcccddd"]
    gate.go.set()
    thread.join()
    assert len(gcs.asked("complete")) == 6


def test_files_of_one_megabyte_to_eight_do_not_go_up_all_at_once(gcs: Gcs, google: ObjectStoreClient, tmp_path: Path) -> None:
    for name in "abcdef":
        (tmp_path / name).write_bytes(LARGE[: client.CHUNK_BYTES - 1])
    gate = gcs.on("put", times=None).hold()
    thread = threading.Thread(target=google.upload, args=({name: tmp_path / name for name in "abcdef"},))
    thread.start()
    until(lambda: len(gcs.asked("put")) == 4)
    threading.Event().wait(0.3)
    assert len(gcs.asked("put")) == 4
    gate.go.set()
    thread.join()
    assert len(gcs.asked("put")) == 6


def test_a_file_goes_up_in_no_more_parts_than_stores_take(
    gcs: Gcs, google: ObjectStoreClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_PARTS_MOST", 2)
    (tmp_path / "x").write_bytes(LARGE)
    google.upload({"x": tmp_path / "x"})
    assert len(gcs.asked("part")) == 2
    assert gcs.buckets["bucket"].files("below/it/") == {"x": LARGE}


@pytest.mark.parametrize(("files", "at_once"), [(1, 12), (2, 12), (6, 12), (40, 4)])
def test_an_upload_takes_little_memory_in_however_many_files_it_comes(
    files: int, at_once: int, gcs: Gcs, tmp_path: Path
) -> None:
    for number in range(files):
        zeros(tmp_path / f"{number}.shard", (300 << 20) // files)
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
            until(lambda: len(gcs.asked("p[au]*t")) >= at_once)
            threading.Event().wait(0.3)  # nobody is answered yet: all that may be is in memory
            for gate in gates:
                gate.go.set()
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert float(out) < 200
    assert len(gcs.buckets["bucket"].files()) == files


@pytest.mark.parametrize(
    ("fault", "deed"),
    [(fault, deed) for fault in ("503", "reset") for deed in ("read", "write", "find", "below", "upload")]
    + [("503", "create"), ("503", "delete")],  # what is not safe to repeat is not, where it may have been done
)
def test_a_failure_that_passes_is_not_noticed(
    fault: str, deed: str, gcs: Gcs, google: ObjectStoreClient, tmp_path: Path
) -> None:
    if deed != "create":
        google.write("x", b"one")
    (tmp_path / "x").write_bytes(b"two")
    rule = gcs.on()
    rule.answer(503) if fault == "503" else rule.reset()
    deeds: dict[str, Callable[[], object]] = {
        "read": lambda: google.read("x"),
        "find": lambda: google.find("x"),
        "below": google.below,
        "write": lambda: google.write("x", b"two"),
        "create": lambda: google.create("x", b"two"),
        "upload": lambda: google.upload({"x": tmp_path / "x"}),
        "delete": lambda: google.delete(["x"]),
    }
    deeds[deed]()
    assert rule.seen == 2
    left = gcs.buckets["bucket"].files("below/it/").get("x")
    assert left == (None if deed == "delete" else b"two" if deed in ("write", "create", "upload") else b"one")


def test_what_is_not_safe_to_repeat_is_told_by_what_happened(gcs: Gcs, google: ObjectStoreClient) -> None:
    for deed in (lambda: google.create("x", b"one"), lambda: google.delete(["x"])):
        gcs.on(times=None).lose()
        with pytest.raises(FetchError, match=r"could not be written: .*error sending request") as caught:
            deed()
        assert type(caught.value) is FetchError and caught.value.is_passing


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, AccessError, "may not be read without credentials (HTTP 401)"),
        (403, AccessError, "may not be read without credentials (HTTP 403)"),
        (404, NotFoundError, "is not there"),
        (400, FetchError, "could not be read: HTTP 400"),
        (429, FetchError, "could not be read: HTTP 429"),
        (500, FetchError, "could not be read: HTTP 500"),
        (503, FetchError, "could not be read: HTTP 503"),
    ],
)
@pytest.mark.parametrize("deed", ["find", "below"])
def test_a_refusal_says_what_was_refused_to_whom(
    deed: str, status: int, kind: type[FetchError], words: str, gcs: Gcs, google: ObjectStoreClient
) -> None:
    gcs.on(times=None).answer(status)
    with pytest.raises(kind) as caught:
        google.find("x") if deed == "find" else google.below("x")
    text = str(caught.value)
    assert type(caught.value) is kind and text.startswith("gs://bucket/below/it/x ") and words in text
    assert caught.value.fix and len(text) < 300
    assert caught.value.is_passing == (status >= 429) and len(gcs.log) == 1 + (status >= 429)


@pytest.mark.parametrize("status", [301, 400])
def test_a_bucket_of_another_region_is_told_how_it_may_be_reached(
    status: int, gcs: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {"ENDPOINT_URL": gcs.url, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{variable}", value)

    def reply(request: Request, operation: Operation) -> Reply:
        said = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region is wrong</Message><X>a</X></Error>"
        return Reply(status, said.encode())

    monkeypatch.setattr(gcs, "reply", reply)
    for deed in (lambda: ObjectStoreClient("s3://bucket").read("x"), ObjectStoreClient("s3://bucket").below):
        with pytest.raises(FetchError, match=r"HTTP 400: the region is wrong|configured region") as caught:
            deed()
        assert "AWS_DEFAULT_REGION" in caught.value.fix and not caught.value.is_passing


def test_a_bucket_that_does_not_exist_is_told(gcs: Gcs) -> None:
    nowhere = ObjectStoreClient("gs://nowhere/x")
    with pytest.raises(NotFoundError, match="Check the bucket's name"):
        nowhere.write("y", b"")
    with pytest.raises(NotFoundError, match="Check the bucket's name"):
        nowhere.below()


def test_a_write_that_is_refused_is_told_as_one(gcs: Gcs) -> None:
    gcs.bucket("shown", token="secret", public=True).put("x", b"one")
    shown = ObjectStoreClient("gs://shown")
    assert read(shown, "x") == b"one"
    for write in (lambda: shown.write("x", b"two"), lambda: shown.create("y", b""), lambda: shown.delete(["x"])):
        with pytest.raises(AccessError, match=r"may not be written without credentials \(HTTP 40[13]\)"):
            write()


def test_a_store_that_does_not_answer_is_given_up(
    gcs: Gcs, google: ObjectStoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "0.2")
    gcs.on(times=None).hold()
    deeds = (lambda: google.read("x"), google.below, lambda: google.write("x", b""), lambda: google.create("x", b""))
    for deed in (*deeds, lambda: google.delete(["x"])):
        with pytest.raises(TransferTimeoutError, match="did not answer in time"):
            deed()


def test_a_store_that_nobody_serves_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    for deed in (ObjectStoreClient("gs://bucket/x").below, lambda: ObjectStoreClient("gs://bucket").read("x")):
        with pytest.raises(OfflineError, match="gs://bucket/x is out of reach"):
            deed()


def test_a_certificate_that_nobody_vouches_for_is_told_and_one_may_be_named(
    gcs: Gcs, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("https_proxy", front.url)
    with pytest.raises(FetchError, match="vouches for its certificate") as caught:
        ObjectStoreClient("gs://bucket").read("x")
    assert "SSL_CERT_FILE" in caught.value.fix and not caught.value.is_passing
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(front.bundle))
            assert ObjectStoreClient("gs://bucket").read("x") is None
    assert len(gcs.asked("get", "x")) == 2


def test_offline_no_library_is_even_loaded() -> None:
    code = """
        import sys
        from tfimm_resolver.errors import OfflineError
        from tfimm_resolver.object_store.client import ObjectStoreClient
        for place in ("gs://bucket/x", "s3://bucket/x"):
            client = ObjectStoreClient(place)
            for deed in (lambda: client.read("y"), client.below, lambda: client.write("y", b"")):
                try:
                    deed()
                except OfflineError as error:
                    assert error.text.startswith(place) and "set_model_cache" in error.fix, error
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
