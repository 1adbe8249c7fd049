"""Servers that never come to an end: each is given up in bounded time and memory."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.fakes.archives import files_in
from tests.fakes.faults import archive, files
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tests.fakes.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.errors import FetchError

READ_TIMEOUT_S = 0.5
STEADY_READ_TIMEOUT_S = 1.0
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

Answer = Callable[[socket.socket, str, threading.Event], None]

pytestmark = pytest.mark.timeout(60)


@contextlib.contextmanager
def serve(answer: Answer) -> Iterator[str]:
    """Serve every request by ``answer``, which gets the connection, the path and an event that ends it; yield the URL."""
    listener, end = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def handle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, IndexError):
            answer(connection, connection.recv(65536).split()[1].decode(), end)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        end.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def drip(head: bytes, chunk: bytes, pause_s: float = 0.1) -> Answer:
    """Return an answer that begins with ``head``, and then sends ``chunk`` for ever."""

    def answer(connection: socket.socket, _: str, end: threading.Event) -> None:
        connection.sendall(head)
        while not end.wait(pause_s):
            connection.sendall(chunk)

    return answer


def redirect_slowly(connection: socket.socket, path: str, end: threading.Event) -> None:
    """Answer with another redirect each time, each just within the read timeout."""
    end.wait(READ_TIMEOUT_S * 0.8)
    target = path.replace("/", "/x", 1).encode()
    connection.sendall(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + target + b"\r\n\r\n")


ENDLESS: dict[str, Answer] = {
    "a head of one byte now and then": drip(b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    "headers without end": drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "a flood of headers": drip(b"HTTP/1.1 200 OK\r\n", b"X: " + bytes(60000).replace(b"\0", b"y") + b"\r\n", 0),
    "100 Continue now and then": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a flood of 100 Continue": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0),
    "headers of 103 Early Hints": drip(b"HTTP/1.1 103 Early Hints\r\n", b"Link: </x>\r\n"),
    "the extension of a chunk": drip(CHUNKED + b"1;", b"a"),
    "a flood as the extension of a chunk": drip(CHUNKED + b"1;", b"a" * 60000, 0),
    "the size of a chunk": drip(CHUNKED, b"0"),
    "trailers": drip(CHUNKED + b"0\r\n", b"X: y\r\n"),
    "a flood of trailers": drip(CHUNKED + b"0\r\n", b"X: y\r\n" * 5000, 0),
    "the body of an error": drip(b"HTTP/1.1 404 No\r\nContent-Length: 300\r\n\r\n", b"a"),
    "the chunks of an error": drip(CHUNKED.replace(b"200 OK", b"500 No"), b"1\r\na\r\n"),
    "the packed body of an error": drip(
        b"HTTP/1.1 404 No\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08\0\0\0\0\0\xff", b"name"
    ),
    "the body of a redirect": drip(b"HTTP/1.1 302 Found\r\nLocation: /m.tar.gz\r\n\r\n", b"a" * 60000, 0),
    "a chain of slow redirects": redirect_slowly,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_answer_is_given_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", str(READ_TIMEOUT_S))
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    with serve(ENDLESS[name]) as url:
        started_s = time.monotonic()
        with pytest.raises(FetchError) as caught:
            resolve(f"{url}/m.tar.gz")
        assert time.monotonic() - started_s < 25
        assert name != "a chain of slow redirects" or "redirects more than" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in ENDLESS if "flood" in name])
def test_a_flood_ends_long_before_the_read_timeout(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "50")
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    with serve(ENDLESS[name]) as url:
        started_s = time.monotonic()
        with pytest.raises(FetchError):
            resolve(f"{url}/m.tar.gz")
        assert time.monotonic() - started_s < 40


@pytest.mark.parametrize("name", [name for name in ENDLESS if "flood" in name or "redirect" in name])
def test_it_takes_little_memory(name: str) -> None:
    code = """
        import re, sys, tfimm_resolver
        from tfimm_resolver.errors import FetchError
        try:
            tfimm_resolver.resolve(sys.argv[1])
        except FetchError:
            print(int(re.search("VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024)
    """
    with serve(ENDLESS[name]) as url:
        limits = {"TFIMM_RESOLVER_READ_TIMEOUT_S": str(READ_TIMEOUT_S), "TFIMM_RESOLVER_RETRIES": "0"}
        assert int(run(code, f"{url}/m.tar.gz", **limits)) < 200


def test_a_slow_but_steady_head_and_body_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", str(STEADY_READ_TIMEOUT_S))
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "9")  # a loaded machine may make a pause too long now and then
    body = archive(20_000)

    def answer(connection: socket.socket, _: str, end: threading.Event) -> None:
        end.wait(STEADY_READ_TIMEOUT_S * 0.6)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n")
        end.wait(STEADY_READ_TIMEOUT_S * 0.6)
        connection.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        step = len(body) // 25
        for start in range(0, len(body), step):
            end.wait(STEADY_READ_TIMEOUT_S / 10)
            connection.sendall(b"%x;why=not\r\n%b\r\n" % (len(body[start : start + step]), body[start : start + step]))
        connection.sendall(b"0\r\nX-Trailer: yes\r\n\r\n")

    with serve(answer) as url:
        assert files_in(resolve(f"{url}/m.tar.gz")) == files(20_000)
