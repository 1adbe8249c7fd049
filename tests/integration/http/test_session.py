"""Redirects: which are followed, what is sent along, and what happens when a signed URL expires."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import files_in
from tests.fakes.faults import COMPLETE, NOTHING, PARTS, RANGE_BYTES, RANGES, Row, archive, check_outcome, files, list_kinds
from tests.fakes.faults.origin import (
    Fault,
    Host,
    Response,
    after_request,
    answer_with,
    combine,
    on_range_from,
    on_request,
    set_framing,
    stall_after,
)
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tests.fakes.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.errors import AccessError, FetchError

SIZE = len(archive())
CODES = (301, 302, 303, 307, 308)
BASIC = "Basic " + base64.b64encode(b"ada:secret").decode()

# An endless loop has to fail soon.
pytestmark = pytest.mark.timeout(60)


def put_redirect(host: Host, to: str, status: int = 302, path: str = "/m.tar.gz") -> str:
    """Serve a redirect to ``to``, and return its URL."""
    return host.put(path, b"", answer_with(status, b"", Location=to))


def get_other_url(host: Host) -> str:
    """Return the URL of the same server under another host name."""
    return f"http://localhost:{host.port}"


def get_requests(host: Host, path: str) -> list[dict[str, str]]:
    """Return the headers of all requests for a path."""
    return [request.headers for request in host.requests if request.path == path]


@pytest.mark.parametrize("status", CODES)
@pytest.mark.parametrize("to", ["/real.tar.gz", "real.tar.gz", "./a/../real.tar.gz", "//127.0.0.1:{port}/real.tar.gz"])
def test_every_kind_of_redirect_is_followed_with_its_range(status: int, to: str, host: Host, cache_dir: Path) -> None:
    host.put("/real.tar.gz", archive())
    assert files_in(resolve(put_redirect(host, to.format(port=host.port), status))) == files()
    first, *ranges = get_requests(host, "/real.tar.gz")
    assert first["range"] == f"bytes=0-{RANGE_BYTES - 1}" and len(ranges) == RANGES - 1
    assert host.count_resent_bytes() == 0 and list_kinds(cache_dir) == COMPLETE


@pytest.mark.parametrize("hops", [1, 5, 20])
def test_a_chain_of_redirects_is_followed(hops: int, host: Host) -> None:
    for hop in range(hops):
        put_redirect(host, f"/{hop + 1}.tar.gz", CODES[hop % 5], f"/{hop}.tar.gz")
    host.put(f"/{hops}.tar.gz", archive(1000))
    assert files_in(resolve(f"{host.url}/0.tar.gz")) == files(1000)


REFUSED = {
    "a loop of one": ("/m.tar.gz", "redirect"),
    "a loop of two": ("/n.tar.gz", "redirect"),
    "a file": ("file:///etc/passwd", "file:"),
    "a file without host": ("file:/etc/passwd", "file:"),
    "ftp": ("ftp://127.0.0.1/m.tar.gz", "ftp:"),
    "data": ("data:text/plain,m", "data:"),
    "gs": ("gs://bucket/m.tar.gz", "gs:"),
    "javascript": ("javascript:alert(1)", "javascript:"),
    "a loop of one, without a host": ("http://", "redirect"),
    "no port": ("http://127.0.0.1:port/m.tar.gz", "http"),
    "a far port": ("http://127.0.0.1:99999/m.tar.gz", "http"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("status", [302, 308])
def test_an_invalid_redirect_is_an_error_and_not_retried(status: int, name: str, host: Host, cache_dir: Path) -> None:
    to, word = REFUSED[name]
    put_redirect(host, "/m.tar.gz", path="/n.tar.gz")
    row = Row(name, (), error=FetchError, words=(f"{host.url}/m.tar.gz", word), left=NOTHING)
    check_outcome(put_redirect(host, to, status), row, cache_dir)
    assert len(host.requests) <= 31 and (name.startswith("a loop") or len(host.requests) == 1)


UNREADABLE = {
    "a body that stops half-way": (stall_after(0.5),),
    "a chunked body that stops half-way": (set_framing("chunked"), stall_after(0.5)),
    "a body that ends with the connection, and does not end": (set_framing("close"), stall_after(0.5)),
}
"""Reading such a body would never return."""


@pytest.mark.parametrize("faults", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("status", CODES)
def test_the_body_of_a_redirect_is_not_read(
    status: int, faults: tuple[Fault, ...], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "10")
    host.put("/real.tar.gz", archive())
    handle = host.put("/m.tar.gz", b"", answer_with(status, bytes(100_000), Location="/real.tar.gz"), *faults)
    assert files_in(resolve(handle)) == files()


def test_a_redirect_that_unpacks_to_gigabytes_costs_no_memory(host: Host) -> None:
    bomb = gzip.compress(gzip.compress(bytes(1 << 30), 9), 9)
    host.put("/real.tar.gz", archive(1000))
    headers = {"Location": "/real.tar.gz", "Content-Encoding": "gzip, gzip"}
    handle = host.put("/m.tar.gz", b"", lambda response: response.respond(302, bomb, headers))
    code = """
        import resource, sys, tfimm_resolver
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        print(tfimm_resolver.resolve(sys.argv[1]))
    """
    assert files_in(run(code, handle)) == files(1000)


def test_a_loop_with_endless_bodies_ends_after_thirty_redirects(host: Host) -> None:
    handle = host.put("/m.tar.gz", b"", answer_with(302, bytes(100_000), Location="/m.tar.gz"), stall_after(0.5))
    with pytest.raises(FetchError, match="redirect"):
        resolve(handle)
    assert len(host.requests) == 31


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_body_of_a_redirect_that_is_not_followed_is_not_read_either(
    status: int, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "10")
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    host.put("/m/1?tf-hub-format=compressed", archive())
    host.put("/m/1?tf-hub-format=uncompressed", b"", answer_with(status, bytes(100_000), Location="/other"), stall_after(0.5))
    assert files_in(resolve(f"{host.url}/m/1")) == files()
    assert [request.path for request in host.requests[:2]] == [
        "/m/1?tf-hub-format=uncompressed",
        "/m/1?tf-hub-format=compressed",
    ]


def test_a_303_response_is_read_even_if_it_has_a_location(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    host.put("/m/1?tf-hub-format=uncompressed", b"", answer_with(303, b"gs://bucket/m/1", Location="/other"))
    assert resolve(f"{host.url}/m/1") == "gs://bucket/m/1"


@pytest.mark.parametrize("location", [None, ""])
def test_a_redirect_without_a_location_is_an_error_with_its_status(location: str | None, host: Host, cache_dir: Path) -> None:
    handle = host.put("/m.tar.gz", b"", answer_with(302, b"lost", **({} if location is None else {"Location": location})))
    check_outcome(handle, Row("", (), error=FetchError, words=(" 302 ", f"{host.url}/m.tar.gz"), left=NOTHING), cache_dir)
    assert len(host.requests) == 1


def set_userinfo(host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a base URL with credentials."""
    return host.url.replace("http://", "http://ada:secret@")


Configure = Callable[[Host, Path, pytest.MonkeyPatch], str]


@pytest.mark.parametrize("configure", [set_userinfo])
@pytest.mark.parametrize("status", CODES)
def test_credentials_are_sent_only_to_the_host_that_they_are_for(
    status: int, configure: Configure, host: Host, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = configure(host, tmp_path, monkeypatch)
    host.put("/real.tar.gz", archive())
    put_redirect(host, f"{get_other_url(host)}/real.tar.gz", status)
    assert files_in(resolve(f"{base}/m.tar.gz")) == files()
    assert {headers.get("authorization") for headers in get_requests(host, "/m.tar.gz")} == {BASIC}
    there = get_requests(host, "/real.tar.gz")
    assert len(there) == RANGES and all("authorization" not in headers for headers in there)
    assert all("secret" not in f"{request.path} {request.headers}" for request in host.requests)
    assert all(b"secret" not in path.read_bytes() for path in cache_dir.glob("*.txt"))


@pytest.mark.parametrize("configure", [set_userinfo])
@pytest.mark.parametrize("to", ["/real.tar.gz", "{url}/real.tar.gz"])
def test_credentials_go_with_every_range_at_their_own_host(
    to: str, configure: Configure, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = configure(host, tmp_path, monkeypatch)
    host.put("/real.tar.gz", archive())
    put_redirect(host, to.format(url=host.url))
    assert files_in(resolve(f"{base}/m.tar.gz")) == files()
    assert {headers.get("authorization") for headers in get_requests(host, "/real.tar.gz")} == {BASIC}


@pytest.mark.parametrize("configure", [set_userinfo])
def test_a_range_that_is_redirected_to_another_host_carries_no_credentials(
    configure: Configure, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = configure(host, tmp_path, monkeypatch)
    host.put("/other.tar.gz", archive())
    host.put(
        "/real.tar.gz", archive(), after_request(3, answer_with(302, b"", Location=f"{get_other_url(host)}/other.tar.gz"))
    )
    put_redirect(host, f"{host.url}/real.tar.gz")
    assert files_in(resolve(f"{base}/m.tar.gz")) == files()
    there = get_requests(host, "/other.tar.gz")
    assert there != [] and all("authorization" not in headers for headers in there)


def test_credentials_in_a_redirect_are_for_its_host_alone(host: Host, cache_dir: Path) -> None:
    host.put("/real.tar.gz", archive())
    handle = put_redirect(host, f"http://ada:secret@localhost:{host.port}/real.tar.gz")
    assert files_in(resolve(handle)) == files()
    assert all("authorization" not in headers for headers in get_requests(host, "/m.tar.gz"))
    assert {headers.get("authorization") for headers in get_requests(host, "/real.tar.gz")} <= {BASIC, None}
    assert all(b"secret" not in path.read_bytes() for path in cache_dir.glob("*.txt"))


class SigningPage:
    """A page that redirects to a URL with a new signature each time."""

    def __init__(self, host: Host, *faults: Callable[[Response], None]) -> None:
        self._host, self._faults, self.count = host, faults, 0
        self.handle = host.put("/m.tar.gz", b"", self)

    def __call__(self, response: Response) -> None:
        self.count += 1
        path = f"/real.tar.gz?signature=secret{self.count}"
        self._host.put(path, archive(), *(self._faults if self.count == 1 else ()))
        response.respond(302, b"", {"Location": self._host.url + path})


EXPIRED = answer_with(403, b"<Error><Code>ExpiredToken</Code></Error>")


@pytest.mark.parametrize(
    ("fault", "most"),
    [(EXPIRED, RANGES), (after_request(1, EXPIRED), RANGES + 8), (after_request(6, EXPIRED), RANGES + 8)],
    ids=["at first", "after the first range", "after some"],
)
def test_an_expired_signature_is_requested_once_more(
    fault: Callable[[Response], None], most: int, host: Host, cache_dir: Path
) -> None:
    signing = SigningPage(host, fault)
    assert files_in(resolve(signing.handle)) == files()
    assert 2 <= signing.count <= 2 + 8 and list_kinds(cache_dir) == COMPLETE
    assert sum(request.sent for request in host.requests) <= SIZE + RANGE_BYTES
    assert len([one for one in host.requests if one.status == 206]) <= most


@pytest.mark.parametrize(
    ("fault", "left"), [(EXPIRED, NOTHING), (after_request(6, EXPIRED), PARTS)], ids=["at first", "after some"]
)
def test_a_server_that_always_refuses_is_an_error_after_few_requests(
    fault: Callable[[Response], None], left: set[str], host: Host, cache_dir: Path
) -> None:
    host.put("/real.tar.gz?signature=secret", archive(), fault)
    handle = put_redirect(host, f"{host.url}/real.tar.gz?signature=secret")
    row = Row("", (), error=AccessError, words=(" 403 ", "ExpiredToken", "/real.tar.gz"), left=left)
    text = check_outcome(handle, row, cache_dir)
    assert "secret" not in text
    assert len(get_requests(host, "/m.tar.gz")) <= 2 + 8 and len([one for one in host.requests if one.status == 403]) <= 2 * 8
    if left == NOTHING:
        assert [request.path.partition("?")[0] for request in host.requests] == ["/m.tar.gz", "/real.tar.gz"] * 2


@pytest.mark.parametrize("status", [401, 404, 410])
def test_no_other_refusal_after_a_redirect_is_retried(status: int, host: Host) -> None:
    host.put("/real.tar.gz", archive(), answer_with(status))
    with pytest.raises(FetchError, match=f" {status} "):
        resolve(put_redirect(host, "/real.tar.gz"))
    assert len(host.requests) == 2


def test_a_403_of_the_handle_itself_is_not_retried(host: Host) -> None:
    with pytest.raises(AccessError):
        resolve(host.put("/m.tar.gz", archive(), answer_with(403)))
    assert len(host.requests) == 1


def test_bytes_are_not_mixed_if_a_handle_redirects_to_another_file_the_second_time(host: Host) -> None:
    """Two mirrors with the same ETag and different bytes: the result is one of them, or an error."""
    other = bytes(archive()[:-8]) + bytes(8)
    host.put("/other.tar.gz", other)
    host.put("/real.tar.gz", archive(), on_range_from(RANGE_BYTES * 8, EXPIRED))
    redirects = combine(
        on_request(1, answer_with(302, b"", Location="/real.tar.gz")),
        after_request(1, answer_with(302, b"", Location="/other.tar.gz")),
    )
    with pytest.raises(FetchError):
        resolve(host.put("/m.tar.gz", b"", redirects))
