"""Buckets whose readers pay: the project, or the consent, is sent where it is required, and the error says how to set it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.http_server import HttpServer, QuietHandler
from tests.fakes.stores.front import Front
from tests.fakes.stores.gcs import Gcs
from tfimm_resolver import resolve
from tfimm_resolver.errors import AccessError, FetchError
from tfimm_resolver.object_store import billing
from tfimm_resolver.object_store.client import ObjectStoreClient

ARCHIVE = "gs://paid/m.tar.gz"
OTHER = ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_QUOTA_PROJECT")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*OTHER, "AWS_REQUEST_PAYER"):
        monkeypatch.delenv(name, raising=False)
    yield
    billing.stop_sending_project("paid")


@pytest.fixture
def paid(gcs: Gcs) -> Gcs:
    """A store with an archive in a bucket that anybody may read who names a project of theirs."""
    bucket = gcs.bucket("paid")
    bucket.project = "mine"
    bucket.put("m.tar.gz", tar_gz())
    return gcs


def list_named_projects(gcs: Gcs) -> list[str | None]:
    """Return the project that each request named in a header."""
    return [one.headers.get("x-goog-user-project") for one in gcs.log]


def test_without_a_project_the_error_says_what_to_set(paid: Gcs, cache_dir: Path) -> None:
    with pytest.raises(FetchError, match="UserProjectMissing") as caught:
        resolve(ARCHIVE)
    assert "requester pays" in caught.value.fix and all(name in caught.value.fix for name in OTHER)
    assert [*cache_dir.iterdir()] == [] and len(paid.log) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"GOOGLE_CLOUD_PROJECT": "mine"},
        {"GOOGLE_CLOUD_QUOTA_PROJECT": "mine"},
        {"GOOGLE_CLOUD_PROJECT": "other", "GOOGLE_CLOUD_QUOTA_PROJECT": "mine"},
        {"GOOGLE_CLOUD_PROJECT": "mine", "GOOGLE_CLOUD_QUOTA_PROJECT": ""},
    ],
    ids=["project", "quota", "both", "empty"],
)
def test_the_project_is_named_where_the_bucket_requires_it(
    settings: dict[str, str], paid: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert files_in(resolve(ARCHIVE)) == MODEL
    assert [one.status for one in paid.log][:2] == [400, 206]


def test_another_bucket_is_not_told_the_project(paid: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "mine")
    paid.buckets["bucket"].put("m.tar.gz", tar_gz())
    resolve("gs://bucket/m.tar.gz")
    ObjectStoreClient("gs://bucket/x").read("y")
    assert {*list_named_projects(paid)} == {None} and {one.status for one in paid.log} == {206, 404}


def test_a_project_that_may_not_be_billed_is_an_error(paid: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "foreign")
    with pytest.raises(AccessError, match="UserProjectAccessDenied"):
        resolve(ARCHIVE)


def test_credentials_are_sent_with_the_project(
    paid: Gcs, front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid.buckets["paid"].token = paid.token
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    for name, value in {"https_proxy": front.url, "no_proxy": "127.0.0.1", "GOOGLE_CLOUD_PROJECT": "mine"}.items():
        monkeypatch.setenv(name, value)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(front.bundle))
    key = '{"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"}'
    (tmp_path / "adc.json").write_text(key)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    assert files_in(resolve(ARCHIVE)) == MODEL
    assert [(one.kind, one.status, one.authorization) for one in paid.log] == [
        ("get", 400, None),
        ("token", 200, None),
        ("head", 200, "Bearer granted"),
        ("get", 206, "Bearer granted"),
    ]
    assert list_named_projects(paid) == [None, None, "mine", "mine"]


CALLS: dict[str, Callable[[ObjectStoreClient, Path], object]] = {
    "read": lambda objects, _: objects.read("m.tar.gz"),
    "head": lambda objects, _: objects.get_info("m.tar.gz"),
    "list": lambda objects, _: objects.list_objects(),
    "top": lambda objects, _: objects.list_top_level(),
    "write": lambda objects, _: objects.write("x", b"x"),
    "create": lambda objects, _: objects.create("x", b"x"),
    "delete": lambda objects, _: objects.delete(["m.tar.gz"]),
    "upload": lambda objects, path: objects.upload({str(number): path for number in range(9)}),
    "stream": lambda objects, _: [b"".join(data) for _, data in objects.stream_objects([objects.get_info("m.tar.gz")], 3)],
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_call_of_a_client_names_the_project_when_it_is_required(
    call: Callable[[ObjectStoreClient, Path], object], paid: Gcs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    objects = ObjectStoreClient("gs://paid")
    with pytest.raises(FetchError) as caught:
        call(objects, tmp_path / "file")
    assert "GOOGLE_CLOUD_QUOTA_PROJECT" in caught.value.fix
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "mine")
    call(objects, tmp_path / "file")
    assert list_named_projects(paid)[-1] == "mine" and paid.log[-1].status < 300


def test_another_mistake_in_a_request_does_not_make_the_bucket_one_that_is_billed(
    gcs: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "mine")
    gcs.on("head", times=None).answer(400)
    with pytest.raises(FetchError):
        ObjectStoreClient("gs://bucket").get_info("x")
    gcs.release()
    gcs.log.clear()
    ObjectStoreClient("gs://bucket").read("x")
    assert list_named_projects(gcs) == [None]


class Amazon(HttpServer):
    """A store that speaks Amazon's protocol, and refuses who does not consent to pay."""

    def __init__(self) -> None:
        self.consents: list[str | None] = []
        amazon = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:  # noqa: N802  # the name that http.server wants
                amazon.consents.append(self.headers.get("x-amz-request-payer"))
                is_paid = amazon.consents[-1] == "requester"
                body = tar_gz() if is_paid else b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
                first, _, last = (self.headers.get("Range") or f"bytes=0-{len(body) - 1}").partition("=")[2].partition("-")
                part = body[int(first) : int(last) + 1] if is_paid and self.command == "GET" else body
                self.send_response((206 if part != body or "Range" in self.headers else 200) if is_paid else 403)
                self.send_header("ETag", '"a"')
                self.send_header("Last-Modified", "Mon, 02 Nov 2026 10:00:00 GMT")
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
                self.send_header("Content-Length", str(len(part)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(part)

            do_HEAD = do_GET  # noqa: N815

        super().__init__(Handler)


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Amazon]:
    """A bucket of Amazon's whose readers pay."""
    store = Amazon()
    values = {"ENDPOINT_URL": f"http://{store.address}", "DEFAULT_REGION": "us-east-1"}
    for name, value in {**values, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    yield store
    store.close()


@pytest.mark.parametrize("value", ["requester", "REQUESTER", "true", "1", "yes"])
def test_the_consent_is_sent_to_amazon(value: str, amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REQUEST_PAYER", value)
    assert files_in(resolve("s3://paid/m.tar.gz")) == MODEL
    assert {*amazon.consents} == {"requester"}


@pytest.mark.parametrize("value", ["", "false", "0", "bucketowner"])
def test_without_it_the_denial_names_the_variable(value: str, amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REQUEST_PAYER", value)
    with pytest.raises(AccessError) as caught:
        resolve("s3://paid/m.tar.gz")
    assert "requester pays" in caught.value.fix and "AWS_REQUEST_PAYER=requester" in caught.value.fix
    assert {*amazon.consents} == {None}
