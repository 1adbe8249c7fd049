"""The body of an answer, read as it comes; a peer that hardly sends is given up."""

from __future__ import annotations

import contextlib
import time

import requests

from tfimm_resolver import settings
from tfimm_resolver.errors import FetchError, TransferTimeoutError
from tfimm_resolver.http.errors import map_http_errors, raise_for_status, redact_url
from tfimm_resolver.http.session import Session, get

_PAGE_BYTES_MAX = 64 << 20
_TRICKLE_BYTES_PER_S = 100


class ResponseBody:
    """The pieces of a body."""

    def __init__(self, reply: requests.Response, *, is_decoded: bool = False) -> None:
        """``is_decoded``: not as it was packed for the way."""
        self._reply, self._is_decoded = reply, is_decoded
        self._window_s, self._window_bytes = time.monotonic(), 0

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end.

        Raises:
            FetchError: if the body broke off. TransferTimeoutError: if hardly anything came for the read timeout.
        """
        with map_http_errors(self._reply.url):
            piece: bytes = self._reply.raw.read1(size, decode_content=self._is_decoded)
        self._window_bytes += len(piece)
        passed_s = time.monotonic() - self._window_s
        if piece and passed_s > settings.timeouts_s()[1]:
            if self._window_bytes < _TRICKLE_BYTES_PER_S * passed_s:
                raise TransferTimeoutError(
                    f"{redact_url(self._reply.url)} sent {self._window_bytes} bytes in {passed_s:.1f} s",
                    fix="Try again, or set TFIMM_RESOLVER_READ_TIMEOUT_S higher.",
                    is_passing=True,
                )
            self._window_s, self._window_bytes = time.monotonic(), 0
        return piece


def read_small_body(session: Session, url: str, asked: str) -> bytes:
    """The body of an answer 200, of at most 64 MiB; ``asked`` is the handle, for messages.

    Raises:
        FetchError: if there is no such answer.
    """
    data = bytearray()
    with get(session, url) as reply:
        if reply.status_code != 200:
            raise_for_status(reply, asked)
        body = ResponseBody(reply, is_decoded=True)
        while piece := body.read(1 << 16):
            data += piece
            if len(data) > _PAGE_BYTES_MAX:
                raise FetchError(f"{redact_url(url)} sent over {_PAGE_BYTES_MAX} bytes, where a page was expected")
    return bytes(data)


def abort_response(reply: requests.Response) -> None:
    """Let another thread's read of the body end now, without more bytes."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # it has ended already
        reply.raw.shutdown()
