"""Single files and pages from a host that may break, and to whom credentials are told."""

from __future__ import annotations

import gzip
import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import files_in
from tests.faults import RANGE_BYTES
from tests.faults.origin import Host, after, always, cut, gone, on, says
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


def transfer(host: Host) -> Downloader:
    """One that is about some page of the host."""
    return Downloader(Handle.parse(f"{host.url}/w.h5"))


def pinned(host: Host, parts: Path | None = None) -> Downloader:
    """One whose handle has the hash of the body, so that it may come in ranges."""
    return Downloader(Handle.parse(f"{host.url}/w.h5", sha256=SHA256), parts)


@pytest.mark.parametrize(("make", "requests"), [(transfer, 1), (pinned, 6)], ids=["in one stream", "pinned, in ranges"])
def test_a_file_is_fetched_and_hashed(
    make: Callable[[Host], Downloader], requests: int, host: Host, into: Path, tmp_path: Path
) -> None:
    bringing = make(host)
    bringing.file(host.put("/w.h5", BODY), into, "weights.h5")
    assert files_in(into) == {"weights.h5": BODY} and not list(tmp_path.glob("*.parts"))
    assert bringing.files is not None and [file.sha256 for file in bringing.files] == [SHA256]
    assert (bringing.origin.sha256, bringing.origin.size_bytes) == (SHA256, len(BODY)) and len(host.asked) == requests


def test_an_empty_file_comes_too(host: Host, into: Path) -> None:
    transfer(host).file(host.put("/w.h5", b""), into, "w.h5")
    assert files_in(into) == {"w.h5": b""}


def test_a_file_that_breaks_off_is_gone_on_with_by_the_next_call(host: Host, tmp_path: Path) -> None:
    url = host.put("/w.h5", BODY, after(3, gone))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    with pytest.raises(FetchError):
        pinned(host, tmp_path / "parts").file(url, tmp_path / "one", "w.h5")
    host.put("/w.h5", BODY)
    sent_bytes = sum(asked.sent for asked in host.asked)
    pinned(host, tmp_path / "parts").file(url, tmp_path / "two", "w.h5")
    assert files_in(tmp_path / "two") == {"w.h5": BODY} and not (tmp_path / "parts").exists()
    assert sum(asked.sent for asked in host.asked) - sent_bytes < len(BODY)


def test_a_download_to_a_path_is_gone_on_with_by_the_next_process(host: Host, tmp_path: Path) -> None:
    url = host.put("/w.h5", BODY, after(3, gone))
    (tmp_path / "out").mkdir()
    with pytest.raises(FetchError):
        download_url_to_file(url, tmp_path / "out/w.h5", SHA256[:8])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["w.h5.tfimm_resolver.parts"]
    host.put("/w.h5", BODY)
    sent_bytes = sum(asked.sent for asked in host.asked)
    download_url_to_file(url, tmp_path / "out/w.h5", SHA256[:8])
    assert files_in(tmp_path / "out") == {"w.h5": BODY} and not (tmp_path / "out/w.h5.tfimm_resolver.parts").exists()
    assert sum(asked.sent for asked in host.asked) - sent_bytes < len(BODY)


def test_a_body_shorter_than_its_length_is_no_file(host: Host, into: Path) -> None:
    url = host.put("/w.h5", BODY, always(cut(0.5)), ranges=False)
    with pytest.raises(FetchError, match="broke off"):
        transfer(host).file(url, into, "w.h5")


@pytest.mark.parametrize("name", ["../w.h5", "/tmp/w.h5", "a\\b", "con"])
def test_a_file_keeps_to_its_directory(name: str, host: Host, into: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        transfer(host).file(host.put("/w.h5", BODY), into, name)
    assert files_in(tmp_path / "into") == {} and not (tmp_path / "w.h5").exists()


def test_a_file_is_compared_with_a_pin(host: Host, into: Path) -> None:
    url = host.put("/w.h5", BODY)
    with pytest.raises(IntegrityError, match="has another sha256"):
        Downloader(Handle.parse(url, sha256="0" * 64)).file(url, into, "w.h5")


def test_a_page_is_asked_for_again_after_a_passing_failure_and_refused_as_archives_are(host: Host) -> None:
    url = host.put("/w.h5", b"hello", on(1, gone))
    assert transfer(host).page(url) == b"hello" and len(host.asked) == 2
    with pytest.raises(NotFoundError, match="/gone answered 404"):
        transfer(host).page(host.put("/gone", b"", says(404)))


def test_a_page_is_unpacked_that_was_packed_for_the_way(host: Host) -> None:
    packed = gzip.compress(b"hello" * 100_000)
    packed_too = says(200, packed, **{"Content-Encoding": "gzip"})
    assert transfer(host).page(host.put("/w.h5", b"", packed_too)) == b"hello" * 100_000


def test_a_page_that_has_no_end_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfimm_resolver.http.body._PAGE_BYTES_MAX", 1000)
    with pytest.raises(FetchError, match="over 1000 bytes"):
        transfer(host).page(host.put("/w.h5", b"x" * 1001))


def said(host: Host) -> set[str | None]:
    """What requests said as Authorization."""
    return {asked.headers.get("authorization") for asked in host.asked}


def test_credentials_are_told_on_every_connection_and_are_not_shown(host: Host, into: Path) -> None:
    authorization = Credentials.basic("a file", "ada", "s3cret").authorization
    pinned(host).file(host.put("/w.h5", BODY), into, "w.h5", authorization=authorization)
    assert said(host) == {authorization} and len(host.asked) == 6
    assert authorization not in repr(Credentials.basic("a file", "ada", "s3cret"))


def test_credentials_are_not_told_to_another_host_that_is_redirected_to(host: Host, into: Path) -> None:
    authorization = Credentials.basic("a file", "ada", "s3cret").authorization
    url = host.put("/w.h5", b"", says(302, b"", Location=f"http://localhost:{host.port}/real"))
    host.put("/real", BODY)
    pinned(host).file(url, into, "w.h5", authorization=authorization)
    real = [asked for asked in host.asked if asked.path == "/real"]
    assert len(real) == 6 and all("authorization" not in asked.headers for asked in real)


def test_credentials_come_before_what_netrc_says_also_where_a_host_redirects_to_itself(
    host: Host, into: Path, tmp_path: Path
) -> None:
    (tmp_path / "home/.netrc").write_text("machine 127.0.0.1 login ada password other\n")
    url = host.put("/w.h5", b"", says(302, b"", Location="/real"))
    host.put("/real", BODY)
    transfer(host).file(url, into, "w.h5", authorization="Bearer s3cret")
    assert said(host) == {"Bearer s3cret"} and transfer(host).page(url) == BODY
    assert said(host) == {"Bearer s3cret", Credentials.basic("netrc", "ada", "other").authorization}


def test_an_address_that_runs_out_is_renewed_with_credentials_on_every_connection(host: Host, tmp_path: Path) -> None:
    authorization = Credentials.basic("a file", "ada", "s3cret").authorization
    url = host.put("/w.h5", b"", says(302, b"", Location="/real"))
    host.put("/real", BODY, after(2, gone))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    with pytest.raises(FetchError):
        pinned(host, tmp_path / "parts").file(url, tmp_path / "one", "w.h5", authorization=authorization)
    host.put("/real", BODY, on(2, says(403, b"run out")))  # by which all the others of the connections are met, too
    pinned(host, tmp_path / "parts").file(url, tmp_path / "two", "w.h5", authorization=authorization)
    assert files_in(tmp_path / "two") == {"w.h5": BODY} and said(host) == {authorization}
    assert sum(asked.path == "/w.h5" for asked in host.asked) > 2
