"""Serves one file at every path of a free port, with ranges, at full speed or shaped; run as a separate process."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SENT = "/-/sent"
"""The path whose response is the number of bytes of bodies that were handed to the kernel."""

_SLICE_BYTES = 1 << 20
_SHAPED_SLICE_BYTES = 1 << 17
_BURST_S = 0.02
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class _Line:
    """A rate limit for one connection or several; slices are sent in the order of the calls."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._due_s = 0.0
        self._lock = threading.Lock()

    def wait_for(self, size_bytes: int) -> None:
        """Wait until that many bytes may be sent."""
        with self._lock:
            now_s = time.monotonic()
            due_s = max(self._due_s, now_s - _BURST_S)  # unused time up to this burst can be made up for
            self._due_s = due_s + size_bytes / self._bytes_per_s
        time.sleep(max(due_s - now_s, 0))


class _Origin(ThreadingHTTPServer):
    request_queue_size = 256

    def __init__(self, file: Path, bytes_per_s: float, bytes_per_s_in_all: float, latency_s: float) -> None:
        super().__init__(("127.0.0.1", 0), _RequestHandler)
        self.file, self.bytes_per_s, self.latency_s = file, bytes_per_s, latency_s
        self.shared = _Line(bytes_per_s_in_all) if bytes_per_s_in_all else None
        status = file.stat()
        self.size_bytes = status.st_size
        self.etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        self.modified = formatdate(status.st_mtime, usegmt=True)
        self.sent_bytes = 0
        self._lock = threading.Lock()

    def count(self, sent_bytes: int) -> None:
        """Add to the number of bytes sent."""
        with self._lock:
            self.sent_bytes += sent_bytes


class _RequestHandler(BaseHTTPRequestHandler):
    """Handles the requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits for the acknowledgement of its headers
    server: _Origin

    def setup(self) -> None:
        super().setup()
        own = _Line(self.server.bytes_per_s) if self.server.bytes_per_s else None
        self._lines = [line for line in (own, self.server.shared) if line]

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client was killed, or closed the connection
            super().handle()

    def do_GET(self) -> None:
        if self.path == SENT:
            return self._send_count()
        time.sleep(self.server.latency_s)
        size_bytes, part = self.server.size_bytes, self._part()
        if part is None:
            self._head(200, size_bytes)
        elif part:
            self._head(206, len(part), f"bytes {part.start}-{part.stop - 1}/{size_bytes}")
        else:
            self._head(416, 0, f"bytes */{size_bytes}")
        return self._body(range(size_bytes) if part is None else part)

    def _part(self) -> range | None:
        """Return the requested range, empty if it is not satisfiable; None for a complete response."""
        size_bytes = self.server.size_bytes
        found = _RANGE.fullmatch(self.headers.get("Range", ""))
        condition = self.headers.get("If-Range", self.server.etag)
        if found is None or not any(found.groups()) or condition not in (self.server.etag, self.server.modified):
            return None
        first, last = found.groups()
        if not first:
            return range(max(size_bytes - int(last), 0), size_bytes)
        return range(int(first), min(int(last or size_bytes), size_bytes - 1) + 1)

    def _head(self, status: int, size_bytes: int, content_range: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(size_bytes))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", self.server.etag)
        self.send_header("Last-Modified", self.server.modified)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()

    def _body(self, part: range) -> None:
        slice_bytes = _SHAPED_SLICE_BYTES if self._lines else _SLICE_BYTES
        with self.server.file.open("rb") as file:
            while part:
                chunk = part[:slice_bytes]
                for line in self._lines:
                    line.wait_for(len(chunk))
                sent = os.sendfile(self.connection.fileno(), file.fileno(), chunk.start, len(chunk))
                if not sent:
                    raise ConnectionError(f"{self.server.file} became shorter")
                self.server.count(sent)
                part = part[sent:]

    def _send_count(self) -> None:
        text = str(self.server.sent_bytes).encode()
        self._head(200, len(text))
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the parameter's name in the base class
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--mb-per-s", type=float, default=0, help="of each connection; default as fast as can be")
    parser.add_argument("--mb-per-s-in-all", type=float, default=0, help="of all connections together; default the same")
    parser.add_argument("--latency-s", type=float, default=0, help="before each answer")
    arguments = parser.parse_args()
    with _Origin(arguments.file, arguments.mb_per_s * 1e6, arguments.mb_per_s_in_all * 1e6, arguments.latency_s) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()
