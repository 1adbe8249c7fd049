"""Connections whose reads have a deadline and a limit, however a server sends its head, chunks and trailers."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import io
import socket
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from tfimm_resolver import settings
from tfimm_resolver._util import clock
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import FetchError

if TYPE_CHECKING:
    from tfimm_resolver.settings.network import Proxy

_HEAD_MAX_BYTES = 1 << 18
_READ_AHEAD_BYTES = 1 << 13
_OVERHEAD_MAX_BYTES = 1 << 20
"""How much more than asked for one read may receive: headers of chunks, trailers, compressed data without content."""

_target: ContextVar[str] = ContextVar("target", default="")

_SOCKS_FIX = "pip install PySocks, or use a proxy that speaks HTTP."


class ReadLimits:
    """Bounds one step of a response in time and size: its head, then each read of its body.

    The head has to be complete within the read timeout after its first byte, which may itself take that long.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._until_s: float | None = None
        self._left_bytes = _HEAD_MAX_BYTES

    def start_read(self, size_bytes: int) -> None:
        """Begin a read of at most ``size_bytes`` of the body."""
        self._until_s = clock.get_monotonic_s() + self._timeout_s
        self._left_bytes = size_bytes + _OVERHEAD_MAX_BYTES

    def get_wait_s(self) -> float:
        """Return how long the next bytes may take; raise TimeoutError if that time is over."""
        if self._until_s is None:
            return self._timeout_s
        left_s = self._until_s - clock.get_monotonic_s()
        if left_s <= 0:
            raise TimeoutError("the response took too long")
        return min(self._timeout_s, left_s)

    def count(self, size_bytes: int) -> None:
        """Note received bytes; raise HTTPException if there are too many."""
        self._until_s = self._until_s or clock.get_monotonic_s() + self._timeout_s
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise http.client.HTTPException("the response has too much that is not its body")


class _LimitedReader(io.RawIOBase):
    """The bytes of a socket, within limits."""

    def __init__(self, sock: socket.socket, limits: ReadLimits) -> None:
        self._sock, self._limits = sock, limits
        self._raw = sock.makefile("rb", buffering=0)
        self._wait_s = -1.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        wait_s = self._limits.get_wait_s()
        if abs(wait_s - self._wait_s) > self._wait_s / 20:  # setting it is a system call
            self._sock.settimeout(wait_s)
            self._wait_s = wait_s
        count = self._raw.readinto(buffer)
        self._limits.count(count or 0)
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _LimitedSocket:
    """What http.client needs of a socket to read a response."""

    def __init__(self, sock: socket.socket, limits: ReadLimits) -> None:
        self._sock, self._limits = sock, limits

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_LimitedReader(self._sock, self._limits), _READ_AHEAD_BYTES)


class _LimitedResponse(http.client.HTTPResponse):
    """Skips every interim response (RFC 9110, 15.2), of which http.client knows 100 Continue only."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 101 < status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)


class _LimitedConnection(HTTPConnection):
    """Makes responses with limits, those of proxies to CONNECT included.

    Its base is whatever urllib3 has when this is imported: a package that records and replays requests may have replaced it by
    a class which makes responses by itself. Those have no limits.
    """

    _limits: ReadLimits | None = None

    def response_class(self, sock: socket.socket, *args: Any, **options: Any) -> http.client.HTTPResponse:  # type: ignore[override]
        timeout_s = self.timeout if isinstance(self.timeout, (int, float)) else 0.0
        self._limits = ReadLimits(timeout_s)
        return _LimitedResponse(cast(socket.socket, _LimitedSocket(sock, self._limits)), *args, **options)

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:
        super().putrequest(method, _target.get() or url, *args, **options)

    def getresponse(self) -> Any:
        response = super().getresponse()
        response.read_limits = self._limits  # type: ignore[attr-defined]
        return response


class _LimitedTlsConnection(_LimitedConnection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _LimitedConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _LimitedTlsConnection


@contextlib.contextmanager
def send_target(target: str) -> Iterator[None]:
    """Send ``target`` in the request's first line, unless it is empty, instead of what urllib3 makes of the URL.

    urllib3 changes the case of percent-encodings, which breaks some signatures, and logs all that it knows.
    """
    token = _target.set(target)
    try:
        yield
    finally:
        _target.reset(token)


def make_pools(proxy: Proxy | None, *, is_tls: bool) -> urllib3.PoolManager:
    """Return pools of connections, through a proxy if there is one; ``is_tls``: the hosts speak TLS.

    Raises:
        FetchError: if the proxy needs a library that is not installed, or trusted certificates cannot be read.
    """
    options: dict[str, Any] = {"num_pools": 4, "retries": False}
    if not settings.is_tls_verified():  # each request would warn; this package does so once
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    if is_tls:
        from tfimm_resolver.http.tls import make_context

        options["ssl_context"] = make_context()
    if proxy is None:
        manager = urllib3.PoolManager(**options)
    elif proxy.is_socks:
        return _make_socks_pools(proxy, options)
    else:
        login = f"{proxy.user}:{proxy.password}" if proxy.user or proxy.password else ""
        if login:
            options["proxy_headers"] = _make_proxy_headers(login)
        if proxy.url.startswith("https:"):
            from tfimm_resolver.http.tls import make_context

            options["proxy_ssl_context"] = options.get("ssl_context") or make_context()
        manager = urllib3.ProxyManager(proxy.url, **options)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager


def _make_proxy_headers(login: str) -> dict[str, str]:
    import base64

    return {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode()}


def require_socks(proxy: Proxy) -> None:
    """Check that connections through a SOCKS proxy can be made.

    Raises:
        FetchError: if the library that it needs is not installed.
    """
    try:
        importlib.import_module("socks")  # without it, the next import would log a warning as well
        importlib.import_module("urllib3.contrib.socks")
    except ImportError as error:
        raise FetchError(
            f"the proxy {proxy.url} of {proxy.variable} speaks SOCKS, which needs PySocks: {show(error)}", fix=_SOCKS_FIX
        ) from error


def _make_socks_pools(proxy: Proxy, options: dict[str, Any]) -> urllib3.PoolManager:
    require_socks(proxy)
    from urllib3.contrib import socks

    class SocksPool(socks.SOCKSHTTPConnectionPool):
        ConnectionCls: Any = type("SocksConnection", (_LimitedConnection, socks.SOCKSConnection), {})

    class SocksTlsPool(socks.SOCKSHTTPSConnectionPool):
        ConnectionCls: Any = type("SocksTlsConnection", (_LimitedConnection, socks.SOCKSHTTPSConnection), {})

    user, password = proxy.user or None, proxy.password or None
    manager = socks.SOCKSProxyManager(proxy.url, username=user, password=password, **options)
    manager.pool_classes_by_scheme = {"http": SocksPool, "https": SocksTlsPool}
    return manager
