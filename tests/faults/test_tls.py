"""Certificates, proxies, netrc and the promise to open no socket: all as the environment says at the moment of the call."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from tests.archives import files_in
from tests.faults import NOTHING, RANGES, WHOLE, Row, archive, files, left_in, outcome
from tests.faults.origin import Host, says
from tests.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.errors import FetchError, OfflineError

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
BASIC = "Basic " + base64.b64encode(b"ada:secret").decode()

# What loops for ever is to fail soon.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    """A file with the certificate of that authority."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def host(authority: trustme.CA) -> Iterator[Host]:
    """A host that speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    with Host(context) as server:
        yield server


@pytest.fixture
def plain() -> Iterator[Host]:
    """A host that does not."""
    with Host() as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A forward proxy."""
    with Proxy() as server:
        yield server


def untrusted(source: str) -> Row:
    """The outcome where nothing vouches for the certificate; the error says where was looked."""
    return Row("", (), error=FetchError, words=("/m.tar.gz", "certificate", source), left=NOTHING)


def test_a_certificate_that_nobody_vouches_for_is_refused_and_the_source_is_told(host: Host, cache_dir: Path) -> None:
    handle = host.put("/m.tar.gz", archive())
    outcome(handle, untrusted("certifi"), cache_dir)
    assert host.asked == []


@pytest.mark.parametrize("variable", BUNDLES)
def test_a_bundle_is_honoured_from_the_next_call_on(
    variable: str, bundle: str, host: Host, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = host.put("/m.tar.gz", archive())
    outcome(handle, untrusted("certifi"), cache_dir)
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setenv(variable, str(other))
    outcome(handle, untrusted(f"{variable}={other}"), cache_dir)
    monkeypatch.setenv(variable, bundle)
    assert files_in(resolve(handle)) == files() and len(host.asked) == RANGES and host.twice_bytes() == 0
    monkeypatch.delenv(variable)
    with pytest.raises(FetchError, match="certifi"):
        resolve(handle, refresh=True)
    assert left_in(cache_dir) == WHOLE


@pytest.mark.parametrize("variable", BUNDLES)
@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "no certificate"])
def test_a_bundle_that_cannot_be_read_is_named(
    content: str | None, variable: str, host: Host, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bundle.pem"
    if content:
        path.write_text(content)
    monkeypatch.setenv(variable, str(path))
    row = Row("", (), error=FetchError, words=(variable, str(path)), left=NOTHING)
    outcome(host.put("/m.tar.gz", archive()), row, cache_dir)


@pytest.mark.parametrize("path", ["/True.tar.gz", "/False.tar.gz"])
@pytest.mark.parametrize("validation", ["true", "false"])
def test_a_place_out_of_reach_is_not_taken_for_a_bundle_that_cannot_be_read(
    validation: str, path: str, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", validation)
    outcome(f"https://127.0.0.1:9{path}", Row("", (), error=OfflineError, words=("out of reach",), left=NOTHING), cache_dir)


def test_a_certificate_of_another_host_is_refused(
    bundle: str, authority: trustme.CA, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.org").configure_cert(context)
    with Host(context) as host:
        outcome(host.put("/m.tar.gz", archive()), untrusted(f"SSL_CERT_FILE={bundle}"), cache_dir)


def test_without_validation_it_works_and_warns(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", "true")
    handle = host.put("/m.tar.gz", archive())
    assert files_in(resolve(handle)) == files()
    assert [record.getMessage() for record in caplog.records if "certificate" in record.getMessage()] != []
    assert "TFHUB_DISABLE_CERT_VALIDATION" in caplog.text and caplog.text.count("certificates are not checked") == 1
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", "false")
    with pytest.raises(FetchError, match="certificate"):
        resolve(handle, refresh=True)


def test_a_redirect_from_https_to_http_is_refused_and_both_are_told(
    bundle: str, host: Host, plain: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    to = plain.put("/real.tar.gz?signature=secret", archive())
    handle = host.put("/m.tar.gz", b"", says(302, b"", Location=to))
    row = Row("", (), error=FetchError, words=(handle, f"{plain.url}/real.tar.gz"), left=NOTHING)
    assert "secret" not in outcome(handle, row, cache_dir)
    assert plain.asked == [] and len(host.asked) == 1


def test_a_redirect_from_http_to_https_is_followed(
    bundle: str, host: Host, plain: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    handle = plain.put("/m.tar.gz", b"", says(302, b"", Location=host.put("/real.tar.gz", archive())))
    assert files_in(resolve(handle)) == files()


class Proxy(socketserver.ThreadingTCPServer):
    """A forward proxy on loopback, one request a connection; it remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.refusal, self.drops = b"", 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Forward(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        method, target, _ = self.rfile.readline().decode().split()
        fields = [line for line in iter(self.rfile.readline, b"\r\n") if not line.lower().startswith(b"connection:")]
        self.server.asked.append(f"{method} {target}")
        self.server.heads.append(b"".join(fields).decode())
        self.server.drops -= 1
        if self.server.refusal or self.server.drops >= 0:
            self.wfile.write(self.server.refusal)
            return
        place = urlsplit(f"//{target}" if method == "CONNECT" else target)
        with contextlib.suppress(OSError), socket.create_connection((place.hostname or "", place.port or 80)) as upstream:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = place._replace(scheme="", netloc="").geturl()
                fields = [field for field in fields if not field.lower().startswith(b"proxy-")]
                upstream.sendall(f"{method} {path} HTTP/1.1\r\nConnection: close\r\n".encode() + b"".join(fields) + b"\r\n")
                # This proxy ends the connection, too, and says so.
                self.wfile.write(upstream.recv(1 << 16).replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            self._pump(upstream)

    def _pump(self, upstream: socket.socket) -> None:
        other = {upstream: self.connection, self.connection: upstream}
        while True:
            for ready in select.select(list(other), [], [], 30)[0]:
                piece = ready.recv(1 << 16)
                if not piece:
                    return
                other[ready].sendall(piece)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_http_goes_through_the_proxy_that_is_set_at_the_call(
    variable: str, plain: Host, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = plain.put("/m.tar.gz", archive())
    resolve(handle)
    assert proxy.asked == []
    monkeypatch.setenv(variable, proxy.url)
    assert files_in(resolve(handle, refresh=True)) == files()
    assert proxy.asked == [f"GET {handle}"] * RANGES and plain.twice_bytes() == len(archive())


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize(
    ("value", "is_direct"), [("127.0.0.1", True), ("*", True), ("example.org,127.0.0.0/8", True), ("example.org", False)]
)
def test_no_proxy_is_honoured(
    value: str, is_direct: bool, variable: str, plain: Host, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv(variable, value)
    assert files_in(resolve(plain.put("/m.tar.gz", archive(1000)))) == files(1000)
    assert (proxy.asked == []) == is_direct


def test_https_goes_through_a_tunnel_with_the_proxys_own_credentials(
    bundle: str, host: Host, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//ada:secret@"))
    assert files_in(resolve(host.put("/m.tar.gz", archive()))) == files()
    assert set(proxy.asked) == {f"CONNECT 127.0.0.1:{host.port}"}
    assert all(f"Proxy-Authorization: {BASIC}" in head for head in proxy.heads)
    assert all("secret" not in str(asked.headers) and "proxy-authorization" not in asked.headers for asked in host.asked)


def test_a_tunnel_does_not_vouch_for_a_certificate(
    host: Host, proxy: Proxy, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", proxy.url)
    outcome(host.put("/m.tar.gz", archive()), untrusted("certifi"), cache_dir)


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy"])
def test_a_connection_that_a_proxy_drops_is_made_again(
    variable: str, plain: Host, host: Host, bundle: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    monkeypatch.setenv(variable, proxy.url)
    proxy.drops = 1
    place = plain if variable == "http_proxy" else host
    assert files_in(resolve(place.put("/m.tar.gz", archive(1000)))) == files(1000)
    assert len(proxy.asked) == 2


def test_a_proxy_that_refuses_or_is_gone_is_told(
    plain: Host, host: Host, proxy: Proxy, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    for variable, place in (("http_proxy", plain), ("https_proxy", host)):
        monkeypatch.setenv(variable, proxy.url.replace("//", "//ada:secret@"))
        handle = place.put("/m.tar.gz", archive())
        text = outcome(handle, Row("", (), error=kind(variable), words=(handle, "407"), left=NOTHING), cache_dir)
        assert "secret" not in text and len(proxy.asked) <= 2
        monkeypatch.setenv(variable, "http://ada:secret@127.0.0.1:9")
        text = outcome(handle, Row("", (), error=OfflineError, words=(handle, "proxy"), left=NOTHING), cache_dir)
        assert "secret" not in text
    assert plain.asked == host.asked == []


def kind(variable: str) -> type[FetchError]:
    """A plain proxy answers in the place of the server; a tunnel is never made."""
    return FetchError if variable == "http_proxy" else OfflineError


def test_the_credentials_of_a_netrc_file_go_to_their_host_only(
    plain: Host, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine localhost login ada password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    there = plain.put("/m.tar.gz", archive()).replace("127.0.0.1", "localhost")
    elsewhere = plain.put("/n.tar.gz", archive())
    resolve(there)
    resolve(elsewhere)
    for path, expected in (("/m.tar.gz", {BASIC}), ("/n.tar.gz", {None})):
        assert {asked.headers.get("authorization") for asked in plain.asked if asked.path == path} == expected


OFFLINE = """
    import sys
    events = []
    sys.addaudithook(lambda event, facts: events.append(event) if event.startswith("socket.") else None)
    from tfimm_resolver import resolve
    from tfimm_resolver.errors import OfflineError
    for handle in sys.argv[1:]:
        try:
            print(resolve(handle))
        except OfflineError as error:
            print(error)
    # A host's own name is no socket; a lock bears it.
    print("sockets:", [event for event in events if event != "socket.gethostname"])
"""


def test_offline_no_socket_is_made_not_even_for_a_moment(plain: Host) -> None:
    handle = plain.put("/m.tar.gz", archive(1000))
    path = resolve(handle)
    for load_format in ("AUTO", "UNCOMPRESSED"):
        handles = (handle, f"{handle}.zip", "https://tfhub.dev/a/b/1", "gs://bucket/m.tar.gz")
        printed = run(OFFLINE, *handles, TFIMM_RESOLVER_OFFLINE="1", TFHUB_MODEL_LOAD_FORMAT=load_format)
        assert path in printed and printed.endswith("sockets: []"), printed
    assert len(plain.asked) == 1


def test_offline_a_miss_names_handle_root_and_ways_out(plain: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    handle = plain.put("/m.tar.gz", archive(1000))
    words = (handle, str(cache_dir), "TFIMM_RESOLVER_OFFLINE", "set_model_cache")
    outcome(handle, Row("", (), error=OfflineError, words=words, left=NOTHING), cache_dir)
    assert plain.asked == []


def test_the_guard_of_the_offline_test_sees_a_socket(plain: Host) -> None:
    assert "socket.connect" in run(OFFLINE, plain.put("/m.tar.gz", archive(1000)))
