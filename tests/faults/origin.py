"""A host on loopback that answers ranges as RFC 9110 has it, breaks in the ways that a test names, and keeps a log."""

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
_PIECE_BYTES = 1 << 16
_MOST_S = 60

Fault = Callable[["Reply"], None]


@dataclass(frozen=True)
class Page:
    """What lies at one path, and what is wrong with it; faults are applied in their order."""

    body: bytes = b""
    etag: str | None = '"one"'
    modified: str | None = MODIFIED
    ranges: bool = True
    heeds_if_range: bool = True
    faults: tuple[Fault, ...] = ()


@dataclass
class Asked:
    """One request, and what it got: ``sent`` bytes of the page from ``first`` on."""

    method: str
    path: str
    headers: dict[str, str]
    connection: int
    at_s: float = field(default_factory=time.monotonic)
    status: int = 0
    first: int = 0
    sent: int = 0


class EndError(Exception):
    """The connection ends here, in the middle; with ``reset`` by a RST."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


class Reply:
    """One answer, right until a fault changes it."""

    def __init__(self, page: Page, asked: Asked, number: int, host: Host) -> None:
        self.asked, self.number, self.host = asked, number, host
        self.page = page
        self.answer()

    def answer(self, **changes: Any) -> None:
        """Answer anew, as if the page were another one."""
        self.page = page = replace(self.page, **changes)
        self.status, self.first, self.body = 200, 0, memoryview(page.body)
        self.headers = Message()
        self.framing, self.length = "length", None
        self.steps: dict[int, Callable[[], None]] = {}
        self.piece_bytes, self.pause_s = _PIECE_BYTES, 0.0
        self.gates: list[Gate] = []
        for name, value in (("ETag", page.etag), ("Last-Modified", page.modified)):
            if value:
                self.headers[name] = value
        if page.ranges:
            self.headers["Accept-Ranges"] = "bytes"
            self._cut_out()

    length: int | None

    def _cut_out(self) -> None:
        wanted = re.fullmatch("bytes=([0-9]+)-([0-9]*)", self.asked.headers.get("range", ""))
        condition, size = self.asked.headers.get("if-range"), len(self.page.body)
        is_changed = condition not in (None, self.page.modified, self._strong_etag())
        if not wanted or (is_changed and self.page.heeds_if_range):
            return
        first, last = int(wanted[1]), min(int(wanted[2] or size), size - 1)
        if first >= size:
            self.say(416, b"", {"Content-Range": f"bytes */{size}"})
            return
        self.status, self.first, self.body = 206, first, self.body[first : last + 1]
        self.headers["Content-Range"] = f"bytes {first}-{last}/{size}"

    def _strong_etag(self) -> str | None:
        return None if (self.page.etag or "W/").startswith("W/") else self.page.etag

    def say(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Answer something that is nothing of the page."""
        self.status, self.first, self.body, self.headers = status, 0, memoryview(body), Message()
        for name, value in (headers or {}).items():
            self.headers[name] = value

    def put(self, name: str, value: str) -> None:
        """Set a header, in place of what was there."""
        del self.headers[name]
        self.headers[name] = value


class Gate:
    """Lets so many bytes pass, over all connections; then everybody waits until ``go`` is set."""

    def __init__(self, size_bytes: int) -> None:
        self.left_bytes, self.reached, self.go = size_bytes, threading.Event(), threading.Event()
        self._is_ended, self._lock = False, threading.Lock()

    def take(self, size_bytes: int) -> int:
        """How many of these bytes may pass now."""
        with self._lock:
            taken = min(size_bytes, self.left_bytes)
            self.left_bytes -= taken
        if taken == 0 and size_bytes and not self.go.is_set():
            self.reached.set()
            self.go.wait(_MOST_S)
        if self._is_ended:
            raise EndError(reset=True)
        return size_bytes if self.go.is_set() else taken

    def end(self) -> None:
        """Nothing more passes; all connections that come here end."""
        self._is_ended = True
        self.go.set()


class Host:
    """A server on 127.0.0.1, on a free port if none is given; ``pages`` maps paths, with their query, to what lies there."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.pages: dict[str, Page] = {}
        self.counts: dict[str, int] = {}
        self.asked: list[Asked] = []
        self.broken: list[BaseException] = []
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
        assert self.broken == [], "the origin of the test itself failed"

    def put(self, path: str, body: bytes = b"", *faults: Fault, **page: Any) -> str:
        """Serve ``body`` at ``path``; returns the URL."""
        self.pages[path] = Page(body, faults=faults, **page)
        self.counts[path] = 0
        return self.url + path

    def sent_bytes(self) -> int:
        """How many bytes of pages went out."""
        return sum(asked.sent for asked in self.asked)

    def twice_bytes(self) -> int:
        """How many bytes went out that had gone out before."""
        twice = 0
        for path in {asked.path for asked in self.asked}:
            until = 0
            for first, last in sorted((asked.first, asked.first + asked.sent) for asked in self.asked if asked.path == path):
                twice += max(0, min(until, last) - first)
                until = max(until, last)
        return twice


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
        self.close_request(request)  # no orderly end before a RST

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception() if sys.version_info >= (3, 11) else sys.exc_info()[1]
        if error and not isinstance(error, (OSError, ValueError)):
            self.host.broken.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        host = self.server.host
        asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, self.client_address[1])
        with host.lock:
            number = host.counts[self.path] = host.counts.get(self.path, 0) + 1
            host.asked.append(asked)
        page = host.pages.get(self.path)
        try:
            if host.closing.is_set():
                raise EndError(reset=True)
            reply = Reply(page or Page(), asked, number, host)
            if page is None:
                reply.say(404, b"no such page")
            for fault in page.faults if page else ():
                fault(reply)
            self._send(reply)
        except EndError as end:
            self.close_connection = True
            if end.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:  # the client was killed, or gave up
            self.close_connection = True

    def _send(self, reply: Reply) -> None:
        reply.asked.status, reply.asked.first = reply.status, reply.first
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif reply.framing == "close":
            self.send_header("Connection", "close")
        elif reply.status not in (204, 304):
            self.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
        self.end_headers()
        if reply.status not in (204, 304):
            self._send_body(reply)

    def _send_body(self, reply: Reply) -> None:
        at, is_chunked = 0, reply.framing == "chunked"
        for stop in sorted({*(step for step in reply.steps if step <= len(reply.body)), len(reply.body)}):
            while at < stop:
                size = min(stop - at, reply.piece_bytes)
                for gate in reply.gates:
                    size = gate.take(size)
                piece = reply.body[at : at + size]
                if size:
                    self.wfile.write(b"%x\r\n%b\r\n" % (size, piece) if is_chunked else piece)
                at += size
                if reply.status in (200, 206):
                    reply.asked.sent += size
                if reply.pause_s:
                    reply.host.closing.wait(reply.pause_s)
            if stop in reply.steps:
                reply.steps[stop]()
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def always(*faults: Fault) -> Fault:
    """Several faults as one."""
    return lambda reply: [fault(reply) for fault in faults] and None


def on(number: int, *faults: Fault) -> Fault:
    """The n-th request for the page since it was put there, counted from 1."""
    return lambda reply: always(*faults)(reply) if reply.number == number else None


def after(number: int, *faults: Fault) -> Fault:
    """Every request for the page after the n-th."""
    return lambda reply: always(*faults)(reply) if reply.number > number else None


def on_range_at(first: int, *faults: Fault) -> Fault:
    """Ranges that begin at ``first`` or behind it."""
    return lambda reply: always(*faults)(reply) if reply.status == 206 and reply.first >= first else None


def framed(how: str) -> Fault:
    """How the end of the body is told: by "length", "chunked", or "close" of the connection."""
    return lambda reply: setattr(reply, "framing", how)


def cut(part: float, *, reset: bool = False) -> Fault:
    """The connection ends after that part of the body; an int is a number of bytes."""

    def fault(reply: Reply) -> None:
        def end() -> None:
            raise EndError(reset=reset)

        reply.steps[part if isinstance(part, int) else int(len(reply.body) * part)] = end

    return fault


def gone(reply: Reply) -> None:
    """The connection is reset before any answer."""
    raise EndError(reset=True)


def stalled(part: float) -> Fault:
    """Nothing more is sent after that part of the body."""

    def fault(reply: Reply) -> None:
        def wait() -> None:
            reply.host.closing.wait(_MOST_S)
            raise EndError(reset=False)

        reply.steps[int(len(reply.body) * part)] = wait

    return fault


def silent(reply: Reply) -> None:
    """The request is taken, and nothing is answered."""
    reply.host.closing.wait(_MOST_S)
    raise EndError(reset=False)


def paced(piece_bytes: int, pause_s: float) -> Fault:
    """The body comes in pieces, with a pause behind each."""

    def fault(reply: Reply) -> None:
        reply.piece_bytes, reply.pause_s = piece_bytes, pause_s

    return fault


def gated(gate: Gate) -> Fault:
    """The body stops at a gate."""

    def fault(reply: Reply) -> None:
        reply.host.gates.append(gate)
        reply.gates.append(gate)

    return fault


def flipped(offset: int, mask: int = 0x02) -> Fault:
    """The page with bits of one byte turned over; counted from the end if below 0."""

    def fault(reply: Reply) -> None:
        body = bytearray(reply.page.body)
        body[offset] ^= mask
        reply.answer(body=bytes(body))

    return fault


def says(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Another answer; ``_`` in a header's name stands for ``-``."""
    return lambda reply: reply.say(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def together(requests: int) -> Fault:
    """No fault: bodies begin when so many requests have come, so that they are under way at one time."""

    def fault(reply: Reply) -> None:
        def wait() -> None:
            until_s = time.monotonic() + 10
            while len(reply.host.asked) < requests and time.monotonic() < until_s:
                reply.host.closing.wait(0.01)

        reply.steps[0] = wait

    return fault


def with_header(name: str, value: str | None) -> Fault:
    """One more header, or without it."""

    def fault(reply: Reply) -> None:
        if value is None:
            del reply.headers[name]
        else:
            reply.headers[name] = value

    return fault


def page(**changes: Any) -> Fault:
    """As if the page had another body or validator, or no ranges."""
    return lambda reply: reply.answer(**changes)


def length_off(by: int) -> Fault:
    """A Content-Length that differs from what comes; then the connection ends."""

    def fault(reply: Reply) -> None:
        reply.length = max(0, len(reply.body) + by)
        cut(1.0)(reply)

    return fault


def shifted(by: int) -> Fault:
    """Another range than was asked for, told so."""

    def fault(reply: Reply) -> None:
        size = len(reply.page.body)
        if reply.status == 206 and reply.first + by < size:
            first, last = reply.first + by, min(reply.first + by + len(reply.body), size) - 1
            reply.first, reply.body = first, memoryview(reply.page.body)[first : last + 1]
            reply.put("Content-Range", f"bytes {first}-{last}/{size}")

    return fault


def refused_beyond(connections: int, *faults: Fault) -> Fault:
    """So many connections are served; all others get the faults."""
    served: list[int] = []

    def fault(reply: Reply) -> None:
        with reply.host.lock:
            if reply.asked.connection not in served and len(served) < connections:
                served.append(reply.asked.connection)
        if reply.asked.connection not in served:
            always(*faults)(reply)

    return fault
