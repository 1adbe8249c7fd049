"""Real proxies, squid and tinyproxy, and what the environment says about them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import files_in
from tests.fakes.faults import RANGES, archive, files
from tests.fakes.faults.origin import Host
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tfimm_resolver import resolve
from tfimm_resolver._util.outgoing import clean_text
from tfimm_resolver.errors import FetchError, OfflineError
from tfimm_resolver.settings import network

pytestmark = pytest.mark.timeout(100)

_SQUID_LOGINS = [f"/usr/{folder}/squid/basic_ncsa_auth" for folder in ("lib", "lib64")]
SQUID_LOGIN = next((path for path in _SQUID_LOGINS if os.path.exists(path)), "")
LOGIN = "ada:s3cret%57ord"


@dataclass
class Proxy:
    """A proxy that runs, and demands a login."""

    location: str
    log: Path

    @property
    def url(self) -> str:
        return f"http://{LOGIN}@{self.location}"


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def write_tinyproxy(folder: Path, port: int) -> list[str]:
    """Write the configuration of tinyproxy, and return the command."""
    (folder / "tinyproxy.conf").write_text(
        f"Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nBasicAuth ada s3cretWord\n"
        f'PidFile "{folder}/pid"\nLogFile "{folder}/log"\n'
    )
    return ["tinyproxy", "-d", "-c", str(folder / "tinyproxy.conf")]


def write_squid(folder: Path, port: int) -> list[str]:
    """Write the configuration of squid, and return the command."""
    word = subprocess.run(["openssl", "passwd", "-apr1", "s3cretWord"], capture_output=True, text=True, check=True).stdout
    (folder / "passwords").write_text(f"ada:{word}")
    lines = (
        f"http_port 127.0.0.1:{port}",
        f"auth_param basic program {SQUID_LOGIN} {folder}/passwords",
        "acl known proxy_auth REQUIRED",
        "http_access allow known",
        "http_access deny all",
        f"pid_filename {folder}/squid.pid",
        f"access_log stdio:{folder}/log",
        f"cache_log {folder}/cache.log",
        f"coredump_dir {folder}",
        "cache deny all",
        "shutdown_lifetime 1 second",
        "netdb_filename none",
    )
    (folder / "squid.conf").write_text("\n".join(lines) + "\n")
    return ["squid", "-N", "-f", str(folder / "squid.conf")]


@pytest.fixture(scope="module", params=["tinyproxy", "squid"])
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy of each kind that is installed here."""
    is_squid = request.param == "squid"
    if shutil.which(request.param) is None or (is_squid and not (SQUID_LOGIN and shutil.which("openssl"))):
        pytest.skip(f"{request.param} is not installed")
    folder, port = tmp_path_factory.mktemp(request.param), find_free_port()
    for path in (folder, *folder.parents):  # squid runs as another user
        if str(path).startswith("/tmp/"):
            path.chmod(0o777 if path == folder else 0o755)
    command = write_squid(folder, port) if is_squid else write_tinyproxy(folder, port)
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + 30
        while not is_listening(port) and job.poll() is None and time.monotonic() < until_s:
            time.sleep(0.05)
        assert job.poll() is None, f"{request.param} has ended"
        yield Proxy(f"127.0.0.1:{port}", folder / "log")
    finally:
        job.terminate()
        job.wait(20)


@pytest.fixture
def secure(tls: ssl.SSLContext, bundle: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host that speaks TLS, and whose certificate is trusted."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    with Host(tls) as server:
        yield server


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_model_comes_over_http(variable: str, proxy: Proxy, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, proxy.url)
    assert files_in(resolve(host.put("/m.tar.gz", archive()))) == files()
    assert len(host.requests) == RANGES and all("proxy-authorization" not in one.headers for one in host.requests)
    assert all("via" in request.headers for request in host.requests)


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_model_comes_over_https(scheme: str, proxy: Proxy, secure: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", proxy.url.replace("http://", scheme))
    assert files_in(resolve(secure.put("/m.tar.gz", archive()))) == files()


@pytest.mark.parametrize("login", ["", "ada:wrong123@"])
@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy"])
def test_a_refused_login_is_the_proxys_error(
    variable: str, login: str, proxy: Proxy, host: Host, secure: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, f"http://{login}{proxy.location}")
    server = host if variable == "http_proxy" else secure
    with pytest.raises(FetchError, match=f"the proxy http://{proxy.location} of {variable}") as caught:
        resolve(server.put("/m.tar.gz", archive(1000)))
    if variable == "http_proxy" and login and "tinyproxy" in str(proxy.log):  # its 401 looks like one of the server
        assert "wrong123" not in str(caught.value) and host.requests == []
        return
    assert not isinstance(caught.value, OfflineError) and not caught.value.is_passing
    assert "USER:PASSWORD@" in caught.value.fix and "wrong123" not in str(caught.value)
    assert host.requests == secure.requests == []


@pytest.mark.parametrize("name", ["127.0.0.1:{}", "no-such-host.invalid:{}"])
def test_a_proxy_that_cannot_reach_the_host_is_named(name: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    with pytest.raises(FetchError, match=f"through the proxy http://{proxy.location} of http_proxy") as caught:
        resolve(f"http://{name.format(find_free_port())}/m.tar.gz")
    assert (caught.value.status or 0) >= 500


def test_a_proxy_that_is_down_is_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    location = f"127.0.0.1:{find_free_port()}"
    monkeypatch.setenv("ALL_PROXY", f"http://{LOGIN}@{location}")
    with pytest.raises(OfflineError, match=f"through the proxy http://{location} of ALL_PROXY") as caught:
        resolve(host.put("/m.tar.gz", archive(1000)))
    assert "s3cret" not in str(caught.value) and host.requests == []


@pytest.mark.parametrize(
    "value",
    [
        *("http://", "http://127.0.0.1:99999", "http://h:port", "ftp://127.0.0.1:1", "http://[::1", "://x", "http://h:0"),
        *("http://my proxy:3128", "http://a..b:3128", f"http://{'a' * 64}:3128", "http://a\\b:3128", "http://a\x01b:3128"),
        *("http://ada:12#s3cret@127.0.0.1:9", "http://ada:12/s3cret@127.0.0.1:9", "http://ada:12?s3cret@127.0.0.1:9"),
    ],
)
def test_a_value_that_is_not_a_proxy_is_the_variables_error(value: str, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", value)
    with pytest.raises(FetchError, match="http_proxy does not hold the URL of a proxy") as caught:
        resolve(host.put("/m.tar.gz", archive(1000)))
    assert all(form in clean_text(caught.value.fix) for form in ("USER:PASSWORD@", "http://HOST:PORT"))
    assert host.requests == []


@pytest.mark.parametrize(
    ("value", "url", "is_direct"),
    [
        ("*", "http://models.example", True),
        ("*", "https://127.0.0.1", True),
        (" * ", "http://models.example", True),
        ("example", "http://models.example", True),
        (".example", "http://models.example:8080", True),
        ("models.example:8080", "http://models.example:8080", True),
        ("models.example:8080", "http://models.example:9090", False),
        ("odels.example", "http://models.example", False),
        ("a.example, models.example", "http://models.example", True),
        ("127.0.0.0/8", "http://127.3.2.1:99", True),
        ("10.0.0.0/8", "http://127.0.0.1", False),
        ("fd00::/8", "http://[fd12::1]:8080", True),
        ("[::1]", "http://[::1]:8080", True),
        ("", "http://models.example", False),
    ],
)
@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_no_proxy_in_all_its_forms(
    variable: str, value: str, url: str, is_direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv(variable, value)
    assert (network.choose_proxy(url) is None) is is_direct


@pytest.mark.parametrize("value", ["models.example", "127.0.0.0/8", "*"])
@pytest.mark.parametrize("lower", ["", "other.example"])
def test_no_proxy_in_lower_case_hides_the_other(lower: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"http_proxy": "http://proxy.example:3128", "no_proxy": lower, "NO_PROXY": value}.items():
        monkeypatch.setenv(name, text)
    assert network.choose_proxy("http://127.0.0.1:99") is not None
    assert network.choose_proxy("http://models.example") is not None


def test_a_proxy_is_parsed_and_its_login_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://ada:s3cret%2Fword@[::1]:3128/path")
    proxy = network.choose_proxy("https://models.example/m")
    assert proxy is not None and (proxy.url, proxy.user, proxy.password) == ("http://[::1]:3128", "ada", "s3cret/word")
    assert "s3cret" not in repr(proxy) and proxy.full_url == "http://ada:s3cret%2Fword@[::1]:3128"


def test_without_pysocks_a_socks_proxy_says_what_to_install(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "socks", None)
    with pytest.raises(FetchError, match="PySocks") as caught:
        resolve(host.put("/m.tar.gz", archive(1000)))
    assert "pip install" in caught.value.fix and "proxy socks5h://127.0.0.1:9 of ALL_PROXY" in str(caught.value)


class Socks(threading.Thread):
    """A SOCKS 5 proxy with a login (RFC 1928, RFC 1929), for connections to 127.0.0.1."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.location = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.targets: list[str] = []

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as file:
            self._connect(client, file)

    def _connect(self, client: socket.socket, file: Any) -> None:
        file.read(file.read(2)[1])
        client.sendall(b"\x05\x02")
        user = file.read(file.read(2)[1])
        password = file.read(file.read(1)[0])
        client.sendall(b"\x01\x00" if (user, password) == (b"ada", b"s3cretWord") else b"\x01\x01")
        kind = file.read(4)[3]
        name = socket.inet_ntoa(file.read(4)) if kind == 1 else file.read(file.read(1)[0]).decode()
        (port,) = struct.unpack(">H", file.read(2))
        self.targets.append(name)
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            client.sendall(b"\x05\x00\x00\x01" + bytes(6))
            back = threading.Thread(target=self._copy, args=(upstream, client), daemon=True)
            back.start()
            self._copy(client, upstream)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while chunk := source.recv(1 << 16):
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.mark.parametrize(("scheme", "is_remote"), [("socks5", False), ("socks5h", True)])
def test_a_model_comes_through_a_socks_proxy(
    scheme: str, is_remote: bool, host: Host, secure: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Socks()
    proxy.start()
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://{LOGIN}@{proxy.location}")
    if importlib.util.find_spec("socks") is None:  # not a dependency of the tests: most users do not have it
        with pytest.raises(FetchError, match="PySocks"):
            resolve(host.put("/m.tar.gz", archive()))
        return proxy.close()
    try:
        for server in (host, secure):
            handle = server.put("/m.tar.gz", archive()).replace("127.0.0.1", "localhost")
            assert files_in(resolve(handle)) == files()
    finally:
        proxy.close()
    assert ("localhost" in proxy.targets) is is_remote and len(proxy.targets) >= 2
