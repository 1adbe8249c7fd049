"""Reads response bodies as they arrive; a server that trickles data is timed out."""

from __future__ import annotations

import contextlib

from tfimm_resolver import settings
from tfimm_resolver._util import clock
from tfimm_resolver.errors import FetchError, TransferTimeoutError
from tfimm_resolver.http.errors import map_http_errors, raise_for_status, redact_url
from tfimm_resolver.http.response import Response
from tfimm_resolver.http.session import Session, get

_SMALL_BODY_MAX_BYTES = 64 << 20
_MIN_THROUGHPUT_BYTES_PER_S = 100
_REDIRECT_TARGET_MAX_BYTES = 3000


class ResponseBody:
    """The body of a response, as a stream."""

    def __init__(self, response: Response, *, decode_content: bool = False) -> None:
        """``decode_content``: undo the Content-Encoding."""
        self._response, self._decode_content = response, decode_content
        self._window_s, self._window_bytes = clock.get_monotonic_s(), 0

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes; empty at the end.

        Raises:
            FetchError: if the connection broke. TransferTimeoutError: if hardly anything arrived within the read timeout.
        """
        self._response.limit_read(size)
        with map_http_errors(self._response.url):
            chunk = self._response.raw.read1(size, decode_content=self._decode_content)
        self._window_bytes += len(chunk)
        elapsed_s = clock.get_monotonic_s() - self._window_s
        if chunk and elapsed_s > settings.timeouts_s()[1]:
            if self._window_bytes < _MIN_THROUGHPUT_BYTES_PER_S * elapsed_s:
                raise TransferTimeoutError(
                    f"{redact_url(self._response.url)} sent {self._window_bytes} bytes in {elapsed_s:.1f} s",
                    fix="Try again, or set TFIMM_RESOLVER_READ_TIMEOUT_S higher.",
                    is_passing=True,
                )
            self._window_s, self._window_bytes = clock.get_monotonic_s(), 0
        return chunk


def read_small_body(session: Session, url: str, handle: str) -> bytes:
    """Return the body of a 200 response, of at most 64 MiB; ``handle`` is for error messages.

    Raises:
        FetchError: if no response arrives, its status is not 200, or its body is larger.
    """
    data = bytearray()
    with get(session, url) as response:
        if response.status_code != 200:
            raise_for_status(response, handle)
        body = ResponseBody(response, decode_content=True)
        while chunk := body.read(1 << 16):
            data += chunk
            if len(data) > _SMALL_BODY_MAX_BYTES:
                raise FetchError(
                    f"{redact_url(url)} sent more than {_SMALL_BODY_MAX_BYTES} bytes, where a page was expected",
                    fix="Check that the URL is that of the service, and not of a page or an archive.",
                )
    return bytes(data)


def read_redirect_target(url: str, handle: str) -> str | None:
    """Return the body of a 303 response to ``url``, which is not followed; None for any other response below 400.

    Raises:
        FetchError: if no response arrives, or its status is 400 or higher.
    """
    with Session() as session, get(session, url, follow=False) as response:
        if response.status_code >= 400:
            raise_for_status(response, handle)
        if response.status_code != 303:
            return None
        body, data = ResponseBody(response, decode_content=True), b""
        while len(data) < _REDIRECT_TARGET_MAX_BYTES and (chunk := body.read(_REDIRECT_TARGET_MAX_BYTES - len(data))):
            data += chunk
    return data.decode("utf-8", "replace").strip()


def abort_response(response: Response) -> None:
    """Shut the socket of a response, so that a read that waits in another thread returns now."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # it has ended already
        response.raw.shutdown()
