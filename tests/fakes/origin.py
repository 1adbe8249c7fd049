"""A loopback host that serves archives, redirects, errors and delays, and logs its requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_CHUNK_BYTES = 1 << 16


@dataclass
class Page:
    """One response. The second half of the body is sent once ``gate``, if given, is set."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    gate: threading.Event | None = None
    length: int | None = None
    reason: str | None = None


class Origin:
    """A server on a free port of 127.0.0.1; ``pages`` maps paths, including their query, to responses."""

    def __init__(self) -> None:
        self.pages: dict[str, Page | Callable[[], Page]] = {}
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.started = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.origin = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Origin:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for page in self.pages.values():
            if isinstance(page, Page) and page.gate:
                page.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, path: str, body: bytes = b"", **page: Any) -> str:
        """Serve ``body`` at ``path``, and return the URL."""
        self.pages[path] = Page(body, **page)
        return self.url + path

    def put_model(self, path: str, archive: bytes, **page: Any) -> str:
        """Serve an archive by the protocol of TF Hub, and return the URL of the model."""
        self.put(f"{path}?tf-hub-format=compressed", archive, **page)
        return self.url + path


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        origin: Origin = self.server.origin  # type: ignore[attr-defined]
        origin.requests.append(self.path)
        origin.headers.append(dict(self.headers))
        page = origin.pages.get(self.path, Page(b"no such page", 404))
        page = page if isinstance(page, Page) else page()
        self.send_response(page.status, page.reason)
        for name, value in page.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(page.body) if page.length is None else page.length))
        self.end_headers()
        half = len(page.body) // 2 if page.gate else 0
        try:
            self._send(page.body[:half])
            origin.started.set()
            if page.gate:
                page.gate.wait(120)
            self._send(page.body[half:])
        except (BrokenPipeError, ConnectionResetError):  # the client was killed, or gave up
            self.close_connection = True

    def _send(self, body: bytes) -> None:
        for start in range(0, len(body), _CHUNK_BYTES):
            self.wfile.write(body[start : start + _CHUNK_BYTES])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
