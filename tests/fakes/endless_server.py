"""A server whose answers never end, or are far longer than what they are an answer to."""

from __future__ import annotations

import contextlib
import socket
import threading
import zlib
from collections.abc import Callable, Iterator

ANSWER_SECONDS = 10
"""How long a client may be busy with one of these answers."""

_HEAD = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def _repeat(first: bytes, rest: bytes) -> Callable[[], Iterator[bytes]]:
    def send() -> Iterator[bytes]:
        yield first
        while True:
            yield rest * max(1, (1 << 16) // len(rest))

    return send


def _send_packed_zeros() -> Iterator[bytes]:
    yield _HEAD + b"Content-Encoding: gzip\r\n\r\n"
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    while True:
        yield packer.compress(bytes(1 << 24))


ANSWERS: dict[str, Callable[[], Iterator[bytes]]] = {
    "an endless head": _repeat(_HEAD, b"X-A: b\r\n"),
    "an endless header": _repeat(_HEAD + b"X-A: ", b"a"),
    "an endless status line": _repeat(b"HTTP/1.1 200 ", b"a"),
    "endless interim answers": _repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "endless trailers": _repeat(_CHUNKED + b"1\r\na\r\n0\r\n", b"X-A: b\r\n"),
    "an endless chunk extension": _repeat(_CHUNKED + b"1;", b"a"),
    "an endless body": _repeat(_HEAD + b"\r\n", b"["),
    "an endless error": _repeat(b"HTTP/1.1 404 No\r\n\r\n", b"a"),
    "a packed endless body": _send_packed_zeros,
}


@contextlib.contextmanager
def serve(name: str) -> Iterator[str]:
    """Answer each request on loopback in one of these ways; gives the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, ANSWERS[name]), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _accept(listener: socket.socket, answer: Callable[[], Iterator[bytes]]) -> None:
    with contextlib.suppress(OSError):  # closed by serve()
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_send, args=(connection, answer), daemon=True).start()


def _send(connection: socket.socket, answer: Callable[[], Iterator[bytes]]) -> None:
    with connection, contextlib.suppress(OSError):
        connection.recv(1 << 16)
        for part in answer():
            connection.sendall(part)
