"""A fake Google Cloud Storage on loopback: the XML API, as obstore uses it, and the JSON API, as TensorFlow does."""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.fakes.stores import json_api, xml_api
from tests.fakes.stores.control import Control, Operation, ResetError
from tests.fakes.stores.objects import Bucket, StoreError

TOKEN_PATHS = (
    "/token",  # of oauth2.googleapis.com
    "/o/oauth2/token",  # of accounts.google.com, which obstore uses
    "/oauth2/v3/token",  # of www.googleapis.com, which TensorFlow uses for users and for service accounts
    "/oauth2/v4/token",
    "/v1/token",  # of sts.googleapis.com, for workloads of other providers
    "/computeMetadata/v1/instance/service-accounts/default/token",
)
_WRITES = ("PUT", "POST", "DELETE", "PATCH")


@dataclass
class Request:
    """A complete request; names of headers are lower case, query fields as Google names them."""

    method: str
    base: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = field(repr=False)


@dataclass
class Response:
    """The response to a request."""

    status: int = 200
    body: bytes | memoryview = b""
    headers: dict[str, str] = field(default_factory=dict)


class Gcs(Control):
    """A store on a free port of 127.0.0.1, for STORAGE_EMULATOR_HOST; ``with`` starts and stops it.

    ``token`` is what its authorization server and its metadata server grant to everyone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.buckets: dict[str, Bucket] = {}
        self.token = "granted"
        self.broken: list[BaseException] = []
        self._server = Server(self, RequestHandler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Gcs:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.stop()
        assert self.broken == [], "the store of the test itself failed"

    def bucket(self, name: str = "bucket", token: str | None = None, *, public: bool = False) -> Bucket:
        """Create an empty bucket, in place of any with that name."""
        self.buckets[name] = Bucket(name, token, public=public)
        return self.buckets[name]

    def open(self, name: str, method: str, authorization: str | None, anonymous: int) -> Bucket:
        """Return the bucket if the request may access it; ``anonymous`` is the status for denied requests without a token."""
        if name not in self.buckets:
            raise StoreError(404, "NoSuchBucket")
        bucket = self.buckets[name]
        is_open = bucket.token is None or (bucket.public and method not in _WRITES)
        if authorization not in (None, f"Bearer {bucket.token}") and bucket.token is not None:
            raise StoreError(401, "authError")
        if authorization is None and not is_open:
            raise StoreError(anonymous, "AccessDenied")
        return bucket

    def check_project(self, name: str, request: Request) -> None:
        """Refuse a request that does not name the project to bill, if the bucket requires one."""
        required = self.buckets[name].project if name in self.buckets else ""
        named = request.query.get("userProject") or request.headers.get("x-goog-user-project")
        if required and not named:
            raise StoreError(400, "UserProjectMissing")
        if required and named != required:
            raise StoreError(403, "UserProjectAccessDenied")

    def respond(self, request: Request, operation: Operation) -> Response:
        """Execute an operation."""
        if operation.kind == "token":
            token = {"access_token": self.token, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
            return json_api.make_response({**token, "expires_in": 3600, "token_type": "Bearer"})
        if operation.kind == "impersonate":
            return json_api.make_response({"accessToken": self.token, "expireTime": "2099-01-01T00:00:00Z"})
        api = json_api if json_api.is_json_request(request) else xml_api
        try:
            if operation.kind not in api.ACTIONS:
                raise StoreError(501, "notImplemented")
            self.check_project(operation.bucket, request)
            bucket = self.open(operation.bucket, request.method, operation.authorization, api.ANONYMOUS)
            return api.ACTIONS[operation.kind](self, bucket, operation.name, request)
        except StoreError as error:
            return api.make_error_response(error)


class Server(ThreadingHTTPServer):
    """Serves one store, with one class of request handlers, from a thread."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, store: Gcs, handler_class: type[RequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler_class)
        self.store = store
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, also on connections that a client keeps alive."""
        self.shutdown()
        self.server_close()
        self._thread.join()
        for connection in [*self._connections]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        self._connections.add(request)
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self._connections.discard(request)
        self.close_request(request)  # without an orderly shutdown before a RST

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exc_info()[1]
        if error and not isinstance(error, OSError):
            self.store.broken.append(error)


class RequestHandler(BaseHTTPRequestHandler):
    """Handles the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise a body waits for the acknowledgement of its headers
    rbufsize = 1 << 17  # the read size for chunked bodies and for TLS
    server: Server
    base: str | None = None

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):  # the client was killed, or closed the connection early
            super().handle()

    def _serve(self) -> None:
        began_s, store = time.monotonic(), self.server.store
        request = self._read()
        if request is None:
            return
        operation = identify_operation(request)
        rules = store.note(operation)
        time.sleep(store.latency_s)
        try:
            for rule in rules:
                if rule.before:
                    rule.before()
            status = next((rule.status for rule in rules if rule.status), None)
            response = Response(status, b"as the test wants it") if status else store.respond(request, operation)
            for rule in rules:
                if rule.after:
                    rule.after()
        except ResetError:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        operation.status, operation.sent_bytes = response.status, len(response.body)
        operation.duration_s = time.monotonic() - began_s
        self._send(response)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _serve  # noqa: N815

    def _read(self) -> Request | None:
        """Read the request with its body; return None if the client disconnects before the end."""
        target, headers = urlsplit(self.path), {name.lower(): value for name, value in self.headers.items()}
        length = int(headers.get("content-length", "0"))
        body = self._chunks() if headers.get("transfer-encoding") == "chunked" else self.rfile.read(length)
        if body is None or len(body) < length:
            self.close_connection = True
            return None
        base = self.base or f"http://{headers.get('host')}"
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        return Request(self.command, base, target.path, query, headers, body)

    def _chunks(self) -> bytes | None:
        body = io.BytesIO()  # grows, and returns its content, without copying
        while line := self.rfile.readline():
            size = int(line.split(b";")[0], 16)
            body.write(self.rfile.read(size))
            self.rfile.readline()
            if size == 0:
                return body.getvalue()
        return None

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.status != 204 and "Content-Length" not in response.headers:
            self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def identify_operation(request: Request) -> Operation:
    """Return the log entry for a request."""
    if request.path in TOKEN_PATHS:
        kind, bucket, name = "token", "", ""
    elif request.path.endswith(":generateAccessToken"):  # of iamcredentials.googleapis.com
        kind, bucket, name = "impersonate", "", ""
    else:
        kind, bucket, name = (json_api if json_api.is_json_request(request) else xml_api).identify_operation(request)
    return Operation(kind, request.method, unquote(bucket), unquote(name), len(request.body), request.headers)
