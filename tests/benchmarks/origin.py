"""Serves one file at every path of a free port, as fast as the kernel can; run as a process of its own."""

from __future__ import annotations

import contextlib
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Reply(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        file = Path(sys.argv[1])
        self.send_response(200)
        self.send_header("Content-Length", str(file.stat().st_size))
        self.end_headers()
        with file.open("rb") as body, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.sendfile(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's word
        pass


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), _Reply) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()
