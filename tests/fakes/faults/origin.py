"""A loopback host that serves ranges as RFC 9110 says, fails in the ways that a test asks for, and logs its requests."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODIFIED = "Sat, 01 Nov 2025 10:00:00 GMT"
_CHUNK_BYTES = 1 << 16
_MAX_WAIT_S = 60

Fault = Callable[["Response"], None]


@dataclass(frozen=True)
class Page:
    """The content of one path, and its faults, which are applied in order."""

    body: bytes = b""
    etag: str | None = '"one"'
    modified: str | None = MODIFIED
    ranges: bool = True
    honors_if_range: bool = True
    faults: tuple[Fault, ...] = ()


@dataclass
class Request:
    """One request, and its outcome: ``sent`` bytes of the page were sent, starting at offset ``first``."""

    method: str
    path: str
    headers: dict[str, str]
    connection: int
    at_s: float = field(default_factory=time.monotonic)
    status: int = 0
    first: int = 0
    sent: int = 0
    posted: bytes = b""


class EndConnectionError(Exception):
    """Ends the connection in the middle of a response; with ``reset`` by a RST."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


class Response:
    """One response, correct until a fault changes it."""

    def __init__(self, page: Page, request: Request, number: int, host: Host) -> None:
        self.request, self.number, self.host = request, number, host
        self.page = page
        self.rebuild()

    def rebuild(self, **changes: Any) -> None:
        """Build the response again, for a page with these changes."""
        self.page = page = replace(self.page, **changes)
        self.status, self.first, self.body = 200, 0, memoryview(page.body)
        self.headers = Message()
        self.framing, self.length = "length", None
        self.steps: dict[int, Callable[[], None]] = {}
        self.chunk_bytes, self.pause_s = _CHUNK_BYTES, 0.0
        self.gates: list[Gate] = []
        for name, value in (("ETag", page.etag), ("Last-Modified", page.modified)):
            if value:
                self.headers[name] = value
        if page.ranges:
            self.headers["Accept-Ranges"] = "bytes"
            self._select_range()

    length: int | None

    def _select_range(self) -> None:
        match = re.fullmatch("bytes=([0-9]+)-([0-9]*)", self.request.headers.get("range", ""))
        condition, size = self.request.headers.get("if-range"), len(self.page.body)
        is_changed = condition not in (None, self.page.modified, self._get_strong_etag())
        if not match or (is_changed and self.page.honors_if_range):
            return
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
        if first >= size:
            self.respond(416, b"", {"Content-Range": f"bytes */{size}"})
            return
        self.status, self.first, self.body = 206, first, self.body[first : last + 1]
        self.headers["Content-Range"] = f"bytes {first}-{last}/{size}"

    def _get_strong_etag(self) -> str | None:
        return None if (self.page.etag or "W/").startswith("W/") else self.page.etag

    def respond(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Send another response instead of the page."""
        self.status, self.first, self.body, self.headers = status, 0, memoryview(body), Message()
        for name, value in (headers or {}).items():
            self.headers[name] = value

    def put(self, name: str, value: str) -> None:
        """Set a header, replacing its previous value."""
        del self.headers[name]
        self.headers[name] = value


class Gate:
    """Lets a number of bytes pass, over all connections together; then all of them wait until ``go`` is set."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = self.remaining_bytes = size_bytes
        self.reached, self.go = threading.Event(), threading.Event()
        self._is_ended, self._lock = False, threading.Lock()

    def take(self, size_bytes: int) -> int:
        """Wait if necessary, and return how many of these bytes may pass now."""
        with self._lock:
            allowed = min(size_bytes, self.remaining_bytes)
            self.remaining_bytes -= allowed
        if allowed == 0 and size_bytes and not self.go.is_set():
            self.reached.set()
            self.go.wait(_MAX_WAIT_S)
        if self._is_ended:
            raise EndConnectionError(reset=True)
        return size_bytes if self.go.is_set() else allowed

    def end(self) -> None:
        """End all connections that reach the gate."""
        self._is_ended = True
        self.go.set()


class Host:
    """A server on 127.0.0.1, on a free port if none is given; ``pages`` maps paths, including their query, to content."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.pages: dict[str, Page] = {}
        self.counts: dict[str, int] = {}
        self.requests: list[Request] = []
        self.errors: list[BaseException] = []
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.gates: list[Gate] = []
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.host, self._server.tls = self, tls
        self.port = self._server.server_port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Host:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for gate in self.gates:
            gate.end()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        assert self.errors == [], f"the test server itself failed: {self.errors!r}"

    def put(self, path: str, body: bytes = b"", *faults: Fault, **page: Any) -> str:
        """Serve ``body`` at ``path``, and return the URL."""
        self.pages[path] = Page(body, faults=faults, **page)
        self.counts[path] = 0
        return self.url + path

    def count_sent_bytes(self) -> int:
        """Count the bytes of pages that were sent."""
        return sum(request.sent for request in self.requests)

    def count_resent_bytes(self) -> int:
        """Count the bytes that were sent more than once."""
        resent = 0
        for path in {request.path for request in self.requests}:
            spans = [(request.first, request.first + request.sent) for request in self.requests if request.path == path]
            until = 0
            for first, last in sorted(spans):
                resent += max(0, min(until, last) - first)
                until = max(until, last)
        return resent


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    host: Host
    tls: ssl.SSLContext | None

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.tls:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # without an orderly end, so that a RST can follow

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception() if sys.version_info >= (3, 11) else sys.exc_info()[1]
        if error and not isinstance(error, (OSError, ValueError)):
            self.host.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        self.do_GET(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self, posted: bytes = b"") -> None:
        host = self.server.host
        request = Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, self.client_address[1])
        request.posted = posted
        with host.lock:
            number = host.counts[self.path] = host.counts.get(self.path, 0) + 1
            host.requests.append(request)
        page = host.pages.get(self.path)
        try:
            if host.closing.is_set():
                raise EndConnectionError(reset=True)
            response = Response(page or Page(), request, number, host)
            if page is None:
                response.respond(404, b"no such page")
            for fault in page.faults if page else ():
                fault(response)
            self._send(response)
        except EndConnectionError as end:
            self.close_connection = True
            if end.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:  # the client was killed, or gave up
            self.close_connection = True

    def _send(self, response: Response) -> None:
        response.request.status, response.request.first = response.status, response.first
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif response.framing == "close":
            self.send_header("Connection", "close")
        elif response.status not in (204, 304):
            self.send_header("Content-Length", str(len(response.body) if response.length is None else response.length))
        self.end_headers()
        if response.status not in (204, 304):
            self._send_body(response)

    def _send_body(self, response: Response) -> None:
        at, is_chunked = 0, response.framing == "chunked"
        for stop in sorted({*(step for step in response.steps if step <= len(response.body)), len(response.body)}):
            while at < stop:
                size = min(stop - at, response.chunk_bytes)
                for gate in response.gates:
                    size = gate.take(size)
                chunk = response.body[at : at + size]
                counted = size if response.status in (200, 206) else 0
                response.request.sent += counted  # before a test can see that the client has it
                try:
                    if size:
                        self.wfile.write(b"%x\r\n%b\r\n" % (size, chunk) if is_chunked else chunk)
                except OSError:
                    response.request.sent -= counted
                    raise
                at += size
                if response.pause_s:
                    response.host.closing.wait(response.pause_s)
            if stop in response.steps:
                response.steps[stop]()
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def combine(*faults: Fault) -> Fault:
    """Combine several faults."""
    return lambda response: [fault(response) for fault in faults] and None


def on_request(number: int, *faults: Fault) -> Fault:
    """Apply faults to the n-th request for the page since ``put``, counted from 1."""
    return lambda response: combine(*faults)(response) if response.number == number else None


def after_request(number: int, *faults: Fault) -> Fault:
    """Apply faults to every request for the page after the n-th."""
    return lambda response: combine(*faults)(response) if response.number > number else None


def on_range_from(first: int, *faults: Fault) -> Fault:
    """Apply faults to ranges that start at offset ``first`` or later."""
    return lambda response: combine(*faults)(response) if response.status == 206 and response.first >= first else None


def set_framing(how: str) -> Fault:
    """Mark the end of the body by "length", by "chunked", or by the "close" of the connection."""
    return lambda response: setattr(response, "framing", how)


def cut(part: float, *, reset: bool = False) -> Fault:
    """End the connection after that part of the body; an int is a number of bytes."""

    def fault(response: Response) -> None:
        def end() -> None:
            raise EndConnectionError(reset=reset)

        response.steps[part if isinstance(part, int) else int(len(response.body) * part)] = end

    return fault


def reset_connection(response: Response) -> None:
    """Reset the connection before any response."""
    raise EndConnectionError(reset=True)


def stall_after(part: float) -> Fault:
    """Send nothing more after that part of the body."""

    def fault(response: Response) -> None:
        def wait() -> None:
            response.host.closing.wait(_MAX_WAIT_S)
            raise EndConnectionError(reset=False)

        response.steps[int(len(response.body) * part)] = wait

    return fault


def never_answer(response: Response) -> None:
    """Accept the request, and never respond."""
    response.host.closing.wait(_MAX_WAIT_S)
    raise EndConnectionError(reset=False)


def pace_body(chunk_bytes: int, pause_s: float) -> Fault:
    """Send the body in chunks, with a pause after each."""

    def fault(response: Response) -> None:
        response.chunk_bytes, response.pause_s = chunk_bytes, pause_s

    return fault


def hold_at(gate: Gate) -> Fault:
    """Hold the body at a gate."""

    def fault(response: Response) -> None:
        response.host.gates.append(gate)
        response.gates.append(gate)

    return fault


def flip_bits(offset: int, mask: int = 0x02) -> Fault:
    """Flip bits of the byte at ``offset`` of the page; a negative offset counts from the end."""

    def fault(response: Response) -> None:
        body = bytearray(response.page.body)
        body[offset] ^= mask
        response.rebuild(body=bytes(body))

    return fault


def answer_with(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Send another response; ``_`` in the name of a header stands for ``-``."""
    return lambda response: response.respond(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def wait_for_requests(requests: int) -> Fault:
    """No fault: send bodies only after so many requests have arrived, so that they overlap."""

    def fault(response: Response) -> None:
        def wait() -> None:
            until_s = time.monotonic() + 45
            while len(response.host.requests) < requests and time.monotonic() < until_s:
                response.host.closing.wait(0.01)

        response.steps[0] = wait

    return fault


def set_header(name: str, value: str | None) -> Fault:
    """Add a header; remove it if the value is None."""

    def fault(response: Response) -> None:
        if value is None:
            del response.headers[name]
        else:
            response.headers[name] = value

    return fault


def change_page(**changes: Any) -> Fault:
    """Respond as if the page had another body or validator, or no ranges."""
    return lambda response: response.rebuild(**changes)


def offset_length(by: int) -> Fault:
    """Send a Content-Length that differs from the body by ``by``, then end the connection."""

    def fault(response: Response) -> None:
        response.length = max(0, len(response.body) + by)
        cut(1.0)(response)

    return fault


def shift_range(by: int) -> Fault:
    """Send a different range than requested, and declare it."""

    def fault(response: Response) -> None:
        size = len(response.page.body)
        if response.status == 206 and response.first + by < size:
            first, last = response.first + by, min(response.first + by + len(response.body), size) - 1
            response.first, response.body = first, memoryview(response.page.body)[first : last + 1]
            response.put("Content-Range", f"bytes {first}-{last}/{size}")

    return fault


def limit_connections(connections: int, *faults: Fault) -> Fault:
    """Serve so many connections; apply the faults to all others."""
    served: list[int] = []

    def fault(response: Response) -> None:
        with response.host.lock:
            if response.request.connection not in served and len(served) < connections:
                served.append(response.request.connection)
        if response.request.connection not in served:
            combine(*faults)(response)

    return fault
