"""Certificates, proxies, netrc and offline mode follow the environment at the moment of the call."""

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

from tests.fakes.archives import files_in
from tests.fakes.faults import COMPLETE, NOTHING, RANGES, Row, archive, check_outcome, files, list_kinds
from tests.fakes.faults.origin import Host, answer_with
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tests.fakes.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.errors import FetchError, OfflineError, TransferTimeoutError

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
BASIC = "Basic " + base64.b64encode(b"ada:secret").decode()

# An endless loop has to fail soon.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def host(tls: ssl.SSLContext) -> Iterator[Host]:
    """A host that speaks TLS."""
    with Host(tls) as server:
        yield server


@pytest.fixture
def plain() -> Iterator[Host]:
    """A host without TLS."""
    with Host() as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A forward proxy."""
    with Proxy() as server:
        yield server


def make_untrusted_row(source: str) -> Row:
    """Return a row for an untrusted certificate; the error names the bundle that was used."""
    return Row("", (), error=FetchError, words=("/m.tar.gz", "certificate", source), left=NOTHING)


def test_an_untrusted_certificate_is_refused_and_the_bundle_is_named(host: Host, cache_dir: Path) -> None:
    handle = host.put("/m.tar.gz", archive())
    check_outcome(handle, make_untrusted_row("certifi"), cache_dir)
    assert host.requests == []


@pytest.mark.parametrize("variable", BUNDLES)
def test_a_bundle_is_used_from_the_next_call_on(
    variable: str, bundle: str, host: Host, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = host.put("/m.tar.gz", archive())
    check_outcome(handle, make_untrusted_row("certifi"), cache_dir)
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setenv(variable, str(other))
    check_outcome(handle, make_untrusted_row(f"{variable}={other}"), cache_dir)
    monkeypatch.setenv(variable, bundle)
    assert files_in(resolve(handle)) == files() and len(host.requests) == RANGES and host.count_resent_bytes() == 0
    monkeypatch.delenv(variable)
    with pytest.raises(FetchError, match="certifi"):
        resolve(handle, refresh=True)
    assert list_kinds(cache_dir) == COMPLETE


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
    check_outcome(host.put("/m.tar.gz", archive()), row, cache_dir)


@pytest.mark.parametrize("path", ["/True.tar.gz", "/False.tar.gz"])
@pytest.mark.parametrize("validation", ["true", "false"])
def test_a_connection_error_is_not_mistaken_for_an_unreadable_bundle(
    validation: str, path: str, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", validation)
    check_outcome(
        f"https://127.0.0.1:9{path}", Row("", (), error=OfflineError, words=("cannot be reached",), left=NOTHING), cache_dir
    )


def test_a_certificate_of_another_host_is_refused(
    bundle: str, authority: trustme.CA, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.org").configure_cert(context)
    with Host(context) as host:
        check_outcome(host.put("/m.tar.gz", archive()), make_untrusted_row(f"SSL_CERT_FILE={bundle}"), cache_dir)


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


def test_a_redirect_from_https_to_http_is_refused_and_both_urls_are_shown(
    bundle: str, host: Host, plain: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    to = plain.put("/real.tar.gz?signature=secret", archive())
    handle = host.put("/m.tar.gz", b"", answer_with(302, b"", Location=to))
    row = Row("", (), error=FetchError, words=(handle, f"{plain.url}/real.tar.gz"), left=NOTHING)
    assert "secret" not in check_outcome(handle, row, cache_dir)
    assert plain.requests == [] and len(host.requests) == 1


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
def test_a_redirect_from_http_to_https_is_followed(
    scheme: str, bundle: str, host: Host, plain: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    target = host.put("/real.tar.gz", archive()).replace("https", scheme)
    handle = plain.put("/m.tar.gz", b"", answer_with(302, b"", Location=target))
    assert files_in(resolve(handle)) == files()


class Proxy(socketserver.ThreadingTCPServer):
    """A forward proxy on loopback with one request per connection; it logs the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.requests: list[str] = []
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
        self.server.requests.append(f"{method} {target}")
        self.server.heads.append(b"".join(fields).decode())
        self.server.drops -= 1
        if self.server.refusal or self.server.drops >= 0:
            self.wfile.write(self.server.refusal)
            return
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        with contextlib.suppress(OSError), socket.create_connection((parts.hostname or "", parts.port or 80)) as upstream:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = parts._replace(scheme="", netloc="").geturl()
                fields = [field for field in fields if not field.lower().startswith(b"proxy-")]
                upstream.sendall(f"{method} {path} HTTP/1.1\r\nConnection: close\r\n".encode() + b"".join(fields) + b"\r\n")
                # This proxy closes the connection, and declares it.
                self.wfile.write(upstream.recv(1 << 16).replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            self._pump(upstream)

    def _pump(self, upstream: socket.socket) -> None:
        other = {upstream: self.connection, self.connection: upstream}
        while True:
            for ready in select.select(list(other), [], [], 30)[0]:
                chunk = ready.recv(1 << 16)
                if not chunk:
                    return
                other[ready].sendall(chunk)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_http_uses_the_proxy_that_is_set_at_the_call(
    variable: str, plain: Host, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(plain.put("/m.tar.gz", archive()))
    assert proxy.requests == []
    monkeypatch.setenv(variable, proxy.url)
    handle = plain.put("/n.tar.gz", archive())
    assert files_in(resolve(handle)) == files()
    assert proxy.requests == [f"GET {handle}"] * RANGES and plain.count_resent_bytes() == 0


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize(
    ("value", "is_direct"), [("127.0.0.1", True), ("*", True), ("example.org,127.0.0.0/8", True), ("example.org", False)]
)
def test_no_proxy_is_respected(
    value: str, is_direct: bool, variable: str, plain: Host, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv(variable, value)
    assert files_in(resolve(plain.put("/m.tar.gz", archive(1000)))) == files(1000)
    assert (proxy.requests == []) == is_direct


def test_https_uses_a_tunnel_with_the_credentials_of_the_proxy(
    bundle: str, host: Host, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//ada:secret@"))
    assert files_in(resolve(host.put("/m.tar.gz", archive()))) == files()
    assert set(proxy.requests) == {f"CONNECT 127.0.0.1:{host.port}"}
    assert all(f"Proxy-Authorization: {BASIC}" in head for head in proxy.heads)
    assert all(
        "secret" not in str(request.headers) and "proxy-authorization" not in request.headers for request in host.requests
    )


def test_a_tunnel_does_not_make_a_certificate_trusted(
    host: Host, proxy: Proxy, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", proxy.url)
    check_outcome(host.put("/m.tar.gz", archive()), make_untrusted_row("certifi"), cache_dir)


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy"])
def test_a_connection_that_a_proxy_drops_is_retried(
    variable: str, plain: Host, host: Host, bundle: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    monkeypatch.setenv(variable, proxy.url)
    proxy.drops = 1
    server = plain if variable == "http_proxy" else host
    assert files_in(resolve(server.put("/m.tar.gz", archive(1000)))) == files(1000)
    assert len(proxy.requests) == 2


def drop_connection(listener: socket.socket) -> None:
    """Accept one connection, and close it."""
    listener.accept()[0].close()


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy"])
@pytest.mark.parametrize("is_silent", [True, False], ids=["silent", "dropping"])
def test_a_proxy_that_does_not_answer_is_named(
    is_silent: bool, variable: str, plain: Host, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"CONNECT_TIMEOUT_S": "0.2", "READ_TIMEOUT_S": "0.2", "RETRIES": "0"}.items():
        monkeypatch.setenv(f"TFIMM_RESOLVER_{name}", value)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv(variable, url)
        if not is_silent:
            threading.Thread(target=drop_connection, args=(listener,), daemon=True).start()
        with pytest.raises(FetchError, match=f"through the proxy {url} of {variable}") as caught:
            resolve((plain if variable == "http_proxy" else host).put("/m.tar.gz", archive()))
        assert caught.value.is_passing and isinstance(caught.value, TransferTimeoutError) is is_silent


def test_a_proxy_that_refuses_or_is_down_is_reported(
    plain: Host, host: Host, proxy: Proxy, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    for variable, server in (("http_proxy", plain), ("https_proxy", host)):
        monkeypatch.setenv(variable, proxy.url.replace("//", "//ada:secret@"))
        handle = server.put("/m.tar.gz", archive())
        text = check_outcome(handle, Row("", (), error=FetchError, words=(handle, "407", variable), left=NOTHING), cache_dir)
        assert "secret" not in text and len(proxy.requests) <= 2
        monkeypatch.setenv(variable, "http://ada:secret@127.0.0.1:9")
        text = check_outcome(handle, Row("", (), error=OfflineError, words=(handle, "proxy"), left=NOTHING), cache_dir)
        assert "secret" not in text
    assert plain.requests == host.requests == []


@pytest.mark.parametrize(
    ("answer", "text", "advice"),
    [
        ("501 Unsupported method ('CONNECT')", "answered 501 to CONNECT: Unsupported method ('CONNECT');", "web server"),
        ("405 Not Allowed", "answered 405 to CONNECT: Not Allowed; it does not act as a proxy", "the port in https_proxy"),
        ("301 Moved <here>", "answered 301 to CONNECT: Moved <here>; it does not act as a proxy", "web server"),
        ("400", "answered 400 to CONNECT; it does not act as a proxy", "web server"),
        ("403 Forbidden", "answered 403 to CONNECT: Forbidden", "that the proxy allows it"),
        ("503 Down", "answered 503 to CONNECT: Down", "that the host is up"),
    ],
)
def test_a_refused_tunnel_is_told_from_a_server_that_is_not_a_proxy(
    answer: str, text: str, advice: str, host: Host, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.refusal = f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    with pytest.raises(FetchError) as caught:
        resolve(host.put("/m.tar.gz", archive()))
    assert text in caught.value.text and advice in caught.value.fix
    assert ("not act as a proxy" in caught.value.text) is ("web server" in caught.value.fix)


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
    # Reading the host name for a lock file is not a connection.
    print("sockets:", [event for event in events if event != "socket.gethostname"])
"""


def test_offline_no_socket_is_created(plain: Host) -> None:
    handle = plain.put("/m.tar.gz", archive(1000))
    path = resolve(handle)
    for load_format in ("AUTO", "UNCOMPRESSED"):
        handles = (handle, f"{handle}.zip", "https://tfhub.dev/a/b/1", "gs://bucket/m.tar.gz")
        printed = run(OFFLINE, *handles, TFIMM_RESOLVER_OFFLINE="1", TFHUB_MODEL_LOAD_FORMAT=load_format)
        assert path in printed and printed.endswith("sockets: []"), printed
    assert len(plain.requests) == 1


def test_offline_a_miss_names_handle_root_and_ways_out(plain: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    handle = plain.put("/m.tar.gz", archive(1000))
    words = (handle, str(cache_dir), "TFIMM_RESOLVER_OFFLINE", "set_model_cache")
    check_outcome(handle, Row("", (), error=OfflineError, words=words, left=NOTHING), cache_dir)
    assert plain.requests == []


def test_the_guard_of_the_offline_test_sees_a_socket(plain: Host) -> None:
    assert "socket.connect" in run(OFFLINE, plain.put("/m.tar.gz", archive(1000)))
