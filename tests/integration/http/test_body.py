"""Single files and small bodies from a host that fails, and which hosts receive credentials."""

from __future__ import annotations

import gzip
import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import files_in
from tests.fakes.faults import RANGE_BYTES
from tests.fakes.faults.origin import Host, after_request, answer_with, combine, cut, on_request, reset_connection
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tfimm_resolver.errors import ArchiveError, FetchError, IntegrityError, NotFoundError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.http.credentials import Credentials
from tfimm_resolver.hub import download_url_to_file
from tfimm_resolver.transfer.downloader import Downloader

BODY = random.Random(5).randbytes(5 * RANGE_BYTES + 7)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """An empty directory."""
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


def make_downloader(host: Host) -> Downloader:
    """Return a downloader for a page of the host."""
    return Downloader(Handle.parse(f"{host.url}/w.h5"))


def make_pinned_downloader(host: Host, parts: Path | None = None) -> Downloader:
    """Return a downloader whose handle has the hash of the body, so that range requests are allowed."""
    return Downloader(Handle.parse(f"{host.url}/w.h5", sha256=SHA256), parts)


@pytest.mark.parametrize(
    ("make", "requests"), [(make_downloader, 1), (make_pinned_downloader, 6)], ids=["in one stream", "pinned, in ranges"]
)
def test_a_file_is_fetched_and_hashed(
    make: Callable[[Host], Downloader], requests: int, host: Host, into: Path, tmp_path: Path
) -> None:
    downloader = make(host)
    downloader.file(host.put("/w.h5", BODY), into, "weights.h5")
    assert files_in(into) == {"weights.h5": BODY} and not list(tmp_path.glob("*.parts"))
    assert downloader.files is not None and [file.sha256 for file in downloader.files] == [SHA256]
    assert (downloader.origin.sha256, downloader.origin.size_bytes) == (SHA256, len(BODY)) and len(host.requests) == requests


def test_an_empty_file_is_downloaded(host: Host, into: Path) -> None:
    make_downloader(host).file(host.put("/w.h5", b""), into, "w.h5")
    assert files_in(into) == {"w.h5": b""}


def test_the_next_call_resumes_an_interrupted_file(host: Host, tmp_path: Path) -> None:
    url = host.put("/w.h5", BODY, after_request(3, reset_connection))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    with pytest.raises(FetchError):
        make_pinned_downloader(host, tmp_path / "parts").file(url, tmp_path / "one", "w.h5")
    host.put("/w.h5", BODY)
    sent_bytes = sum(request.sent for request in host.requests)
    make_pinned_downloader(host, tmp_path / "parts").file(url, tmp_path / "two", "w.h5")
    assert files_in(tmp_path / "two") == {"w.h5": BODY} and not (tmp_path / "parts").exists()
    assert sum(request.sent for request in host.requests) - sent_bytes < len(BODY)


def test_the_next_process_resumes_a_download_to_a_path(host: Host, tmp_path: Path) -> None:
    url = host.put("/w.h5", BODY, after_request(3, reset_connection))
    (tmp_path / "out").mkdir()
    with pytest.raises(FetchError):
        download_url_to_file(url, tmp_path / "out/w.h5", SHA256[:8])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["w.h5.tfimm_resolver.parts"]
    host.put("/w.h5", BODY)
    sent_bytes = sum(request.sent for request in host.requests)
    download_url_to_file(url, tmp_path / "out/w.h5", SHA256[:8])
    assert files_in(tmp_path / "out") == {"w.h5": BODY} and not (tmp_path / "out/w.h5.tfimm_resolver.parts").exists()
    assert sum(request.sent for request in host.requests) - sent_bytes < len(BODY)


def test_a_body_shorter_than_its_length_is_an_error(host: Host, into: Path) -> None:
    url = host.put("/w.h5", BODY, combine(cut(0.5)), ranges=False)
    with pytest.raises(FetchError, match="connection broke"):
        make_downloader(host).file(url, into, "w.h5")


@pytest.mark.parametrize("name", ["../w.h5", "/tmp/w.h5", "a\\b", "a\u202eb"])
def test_a_file_stays_in_its_directory(name: str, host: Host, into: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        make_downloader(host).file(host.put("/w.h5", BODY), into, name)
    assert files_in(tmp_path / "into") == {} and not (tmp_path / "w.h5").exists()


def test_a_file_is_compared_with_a_pin(host: Host, into: Path) -> None:
    url = host.put("/w.h5", BODY)
    with pytest.raises(IntegrityError, match="has a different sha256"):
        Downloader(Handle.parse(url, sha256="0" * 64)).file(url, into, "w.h5")


def test_a_small_body_is_retried_after_a_transient_failure_and_fails_like_an_archive(host: Host) -> None:
    url = host.put("/w.h5", b"hello", on_request(1, reset_connection))
    assert make_downloader(host).get_bytes(url) == b"hello" and len(host.requests) == 2
    with pytest.raises(NotFoundError, match="/gone answered 404"):
        make_downloader(host).get_bytes(host.put("/gone", b"", answer_with(404)))


def test_the_content_encoding_of_a_small_body_is_undone(host: Host) -> None:
    packed = gzip.compress(b"hello" * 100_000)
    encoded = answer_with(200, packed, **{"Content-Encoding": "gzip"})
    assert make_downloader(host).get_bytes(host.put("/w.h5", b"", encoded)) == b"hello" * 100_000


def test_the_size_of_a_small_body_is_limited(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfimm_resolver.http.body._SMALL_BODY_MAX_BYTES", 1000)
    with pytest.raises(FetchError, match="more than 1000 bytes"):
        make_downloader(host).get_bytes(host.put("/w.h5", b"x" * 1001))


def get_authorizations(host: Host) -> set[str | None]:
    """Return the Authorization headers of all requests."""
    return {request.headers.get("authorization") for request in host.requests}


def test_credentials_are_sent_on_every_connection_and_not_shown(host: Host, into: Path) -> None:
    authorization = Credentials.basic("a file", "ada", "s3cret").authorization
    make_pinned_downloader(host).file(host.put("/w.h5", BODY), into, "w.h5", authorization=authorization)
    assert get_authorizations(host) == {authorization} and len(host.requests) == 6
    assert authorization not in repr(Credentials.basic("a file", "ada", "s3cret"))


def test_credentials_are_not_sent_to_another_host_after_a_redirect(host: Host, into: Path) -> None:
    authorization = Credentials.basic("a file", "ada", "s3cret").authorization
    url = host.put("/w.h5", b"", answer_with(302, b"", Location=f"http://localhost:{host.port}/real"))
    host.put("/real", BODY)
    make_pinned_downloader(host).file(url, into, "w.h5", authorization=authorization)
    real = [request for request in host.requests if request.path == "/real"]
    assert len(real) == 6 and all("authorization" not in request.headers for request in real)


def test_credentials_go_to_the_same_host_after_a_redirect_and_netrc_is_not_sent_over_http(
    host: Host, into: Path, tmp_path: Path
) -> None:
    (tmp_path / "home/.netrc").write_text("machine 127.0.0.1 login ada password other\n")
    url = host.put("/w.h5", b"", answer_with(302, b"", Location="/real"))
    host.put("/real", BODY)
    make_downloader(host).file(url, into, "w.h5", authorization="Bearer s3cret")
    assert get_authorizations(host) == {"Bearer s3cret"} and make_downloader(host).get_bytes(url) == BODY
    assert get_authorizations(host) == {"Bearer s3cret", None}


def test_an_expired_url_is_refreshed_with_credentials_on_every_connection(host: Host, tmp_path: Path) -> None:
    authorization = Credentials.basic("a file", "ada", "s3cret").authorization
    url = host.put("/w.h5", b"", answer_with(302, b"", Location="/real"))
    host.put("/real", BODY, after_request(2, reset_connection))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    with pytest.raises(FetchError):
        make_pinned_downloader(host, tmp_path / "parts").file(url, tmp_path / "one", "w.h5", authorization=authorization)
    host.put("/real", BODY, on_request(2, answer_with(403, b"expired")))  # by then the other connections are open
    make_pinned_downloader(host, tmp_path / "parts").file(url, tmp_path / "two", "w.h5", authorization=authorization)
    assert files_in(tmp_path / "two") == {"w.h5": BODY} and get_authorizations(host) == {authorization}
    assert sum(request.path == "/w.h5" for request in host.requests) > 2
