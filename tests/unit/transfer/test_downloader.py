"""Failed downloads: what the error says, and that nothing is left behind."""

from __future__ import annotations

import hashlib
import json
import os
import traceback
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz, zip_of
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.errors import (
    AccessError,
    ArchiveError,
    FetchError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    ResolverError,
    TransferTimeoutError,
)
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.transfer.downloader import Downloader


def get_failure(handle: str, kind: type[ResolverError], cache_dir: Path, **options: str) -> str:
    """Resolve a handle that fails; return the message, check the class of the error, and that the cache is empty."""
    with pytest.raises(kind) as caught:
        resolve(handle, **options)  # type: ignore[arg-type]
    assert type(caught.value) is kind
    assert not cache_dir.exists() or os.listdir(cache_dir) == []
    return str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (401, AccessError, "credentials"),
        (403, AccessError, "access rights"),
        (404, NotFoundError, "spelling"),
        (410, NotFoundError, "taken down"),
        (500, FetchError, "try again later"),
        (204, FetchError, "try again later"),
    ],
)
def test_an_unexpected_status_is_reported_with_its_body_and_advice(
    status: int, kind: type[ResolverError], advice: str, origin: Origin, cache_dir: Path
) -> None:
    body = b"" if status == 204 else b'{"error": "because"}'
    handle = origin.put("/m.tar.gz?X-Goog-Signature=secret", body, status=status)
    text = get_failure(handle, kind, cache_dir)
    assert f" {status} " in text and f"{origin.url}/m.tar.gz" in text and advice in text
    assert body.decode() in text and "secret" not in text


@pytest.mark.parametrize("body", [b"<!doctype html><p>Please log in", b'{"error": "quota"}'])
def test_a_page_with_status_200_is_quoted(body: bytes, origin: Origin, cache_dir: Path) -> None:
    text = get_failure(origin.put("/m.tar.gz", body), ArchiveError, cache_dir)
    assert ("HTML page: 'Please log in'" if b"<" in body else body.decode()) in text and text.startswith(
        f"{origin.url}/m.tar.gz: "
    )


def test_a_body_that_ends_early_is_an_error(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz(), length=len(tar_gz()) + 10)
    assert "connection broke" in get_failure(handle, FetchError, cache_dir)


def test_a_port_without_a_server_cannot_be_reached(cache_dir: Path) -> None:
    text = get_failure("http://127.0.0.1:9/m.tar.gz", OfflineError, cache_dir)
    assert "cannot be reached: " in text and "Connection refused" in text and "object at 0x" not in text


def test_a_server_that_stops_sending_is_timed_out(origin: Origin, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "0.2")
    handle = origin.put("/m.tar.gz", tar_gz(), gate=threading.Event())
    assert "READ_TIMEOUT_S" in get_failure(handle, TransferTimeoutError, cache_dir)


def test_a_redirect_to_another_scheme_is_refused(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", status=302, headers={"Location": "file:///etc/passwd"})
    with pytest.raises(FetchError, match="not an http or https URL"):
        resolve(handle)
    assert os.listdir(cache_dir) == []


@pytest.mark.parametrize("target", ["http://[", "http://ex\u2100mple.com/", "//"])
def test_a_redirect_to_an_invalid_url_is_a_fetch_error(target: str, origin: Origin) -> None:
    handle = origin.put("/m.tar.gz", status=302, headers={"Location": target.encode().decode("latin-1")})
    with pytest.raises(FetchError):
        resolve(handle)


def test_no_signature_is_shown_by_the_body_or_the_cause_of_an_error(origin: Origin) -> None:
    for handle in (
        origin.put("/m.tar.gz?sig=signature", b"bad signature", status=403),
        "http://127.0.0.1:9/m.tar.gz?sig=signature",
    ):
        with pytest.raises(FetchError) as caught:
            resolve(handle)
        text = "".join(traceback.format_exception(caught.value))
        assert "=signature" not in text and "bad signature" not in text


def test_control_characters_of_a_server_do_not_reach_the_terminal(origin: Origin) -> None:
    handle = origin.put("/m.tar.gz", b"\x1b[2J", status=404, reason="\x1b[2JNo")
    with pytest.raises(NotFoundError) as caught:
        resolve(handle)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("page", [{"length": 100}, {"headers": {"Content-Encoding": "gzip"}}, {"body": b"gs://b/m\n\nfoo"}])
def test_a_malformed_location_is_ignored_and_the_archive_downloaded(
    page: dict[str, object], origin: Origin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    handle = origin.put_model("/m/1", tar_gz())
    origin.put("/m/1?tf-hub-format=uncompressed", **{"body": b"gs://bucket/m/1", **page}, status=303)
    assert files_in(resolve(handle)) == MODEL and "downloading it" in caplog.text


def test_redirects_are_followed_and_the_last_url_is_recorded_without_its_query(origin: Origin, cache_dir: Path) -> None:
    origin.put("/real.tar.gz?signature=secret", tar_gz(), headers={"ETag": '"tag"'})
    handle = origin.put_model("/model/1", b"", status=302, headers={"Location": "/real.tar.gz?signature=secret"})
    assert files_in(resolve(handle)) == MODEL
    (text,) = (path.read_text() for path in cache_dir.glob("*.txt"))
    facts = json.loads(text.partition("\n\n")[2])
    assert facts["origin"]["url"] == f"{origin.url}/real.tar.gz" and facts["origin"]["etag"] == '"tag"'
    assert facts["origin"]["sha256"] == hashlib.sha256(tar_gz()).hexdigest()
    assert facts["origin"]["size_bytes"] == len(tar_gz())


def test_no_credential_or_query_of_the_handle_reaches_the_disk(origin: Origin, cache_dir: Path) -> None:
    url = origin.put("/m.tar.gz?token=secret", tar_gz())
    resolve(url.replace("http://", "http://user:secret@"))
    assert "Authorization" in origin.headers[0]
    assert all("secret" not in path.read_text() for path in cache_dir.glob("*.txt"))


def test_the_archive_is_requested_without_compression(origin: Origin) -> None:
    resolve(origin.put("/m.tar.gz", tar_gz()))
    assert origin.headers[0]["Accept-Encoding"] == "identity"


def test_an_archive_that_is_declared_as_an_encoding_is_not_decoded(origin: Origin) -> None:
    handle = origin.put("/m.tar.gz", tar_gz(), headers={"Content-Encoding": "gzip"})
    assert files_in(resolve(handle, sha256=hashlib.sha256(tar_gz()).hexdigest())) == MODEL


def test_a_zip_is_fetched_and_unpacked(origin: Origin, cache_dir: Path) -> None:
    assert files_in(resolve(origin.put("/m.zip", zip_of()))) == MODEL
    assert len(os.listdir(cache_dir)) == 2


def test_a_pin_is_checked_before_anything_is_visible(origin: Origin, cache_dir: Path) -> None:
    handle, right, wrong = origin.put("/m.tar.gz", tar_gz()), hashlib.sha256(tar_gz()).hexdigest(), "0" * 64
    text = get_failure(handle, IntegrityError, cache_dir, sha256=wrong)
    assert right in text and wrong in text
    assert files_in(resolve(f"{handle}#sha256={right}")) == MODEL
    assert resolve(handle) == resolve(handle, sha256=right) and len(origin.requests) == 2


def test_offline_no_socket_is_opened_and_the_error_names_handle_root_and_ways_out(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    path = resolve(handle)
    code = """
        import socket, sys
        def forbidden(*arguments, **options): raise AssertionError("a socket was opened")
        socket.socket.__init__ = forbidden
        from tfimm_resolver import resolve
        from tfimm_resolver.errors import OfflineError
        print(resolve(sys.argv[1]))
        try:
            resolve(sys.argv[1] + ".zip")
        except OfflineError as error:
            print(error)
    """
    printed = run(code, handle, TFIMM_RESOLVER_OFFLINE="1")
    assert printed.startswith(path)
    assert all(word in printed for word in (f"{handle}.zip", str(cache_dir), "TFIMM_RESOLVER_OFFLINE", "set_model_cache"))


def test_what_one_call_posts_is_not_sent_by_the_next(origin: Origin, tmp_path: Path) -> None:
    transfer = Downloader(Handle.parse("kaggle://ada/birds"), is_quiet=True)
    (tmp_path / "m").mkdir()
    with pytest.raises(FetchError, match="501"):  # the server knows only GET
        transfer.archive(origin.url + "/m.tar.gz", tmp_path / "m", post_data=b"{}")
    transfer.file(origin.put("/w.bin", b"weights"), tmp_path / "m", "w.bin")
    assert files_in(tmp_path / "m") == {"w.bin": b"weights"}


def test_certificates_are_checked_unless_that_is_disabled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tfimm_resolver.http import session, tls

    assert "the system's certificates" in tls.describe_trust() and "certifi" in tls.describe_trust()
    monkeypatch.setenv("SSL_CERT_FILE", "/ca.pem")
    assert tls.describe_trust() == "SSL_CERT_FILE=/ca.pem"
    monkeypatch.setenv("SSL_CERT_DIR", "/certs")
    assert tls.describe_trust() == "SSL_CERT_FILE=/ca.pem and SSL_CERT_DIR=/certs"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/bundle.pem")
    assert tls.describe_trust() == "REQUESTS_CA_BUNDLE=/bundle.pem"
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", "true")
    session.warn_if_tls_verification_disabled()
    assert tls.describe_trust() == "TFHUB_DISABLE_CERT_VALIDATION" and "not checked" in caplog.text


def test_a_small_archive_starts_no_thread_and_loads_only_what_it_needs(origin: Origin) -> None:
    code = """
        import sys, threading
        import tfimm_resolver
        start = threading.Thread.start

        def count_and_start(thread):
            print("thread", thread.name)
            start(thread)

        threading.Thread.start = count_and_start
        tfimm_resolver.resolve(sys.argv[1])
        print(*sys.modules)
    """
    loaded = set(run(code, origin.put("/m.tar.gz", tar_gz())).split())
    package = ("_util.thread_pool", "archives.zip_reader", "models_file.schema", "object_store.client")
    unneeded = {*(f"tfimm_resolver.{name}" for name in package), "tfimm_resolver.transfer.parallel_ranges"}
    unneeded |= {"thread", "concurrent.futures", "filelock", "html", "netrc", "obstore", "requests", "tomllib", "uuid"}
    assert loaded.isdisjoint(unneeded), loaded & unneeded
