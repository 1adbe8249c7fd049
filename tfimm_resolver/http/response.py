"""The response to a request, with what was sent to get it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import urllib3

_REDIRECTS = (301, 302, 303, 307, 308)


class SentRequest(NamedTuple):
    """One request of a chain of redirects.

    Attributes:
        url: as it was sent; may hold a signature.
        headers: as they were sent; secrets.
        credentials_source: which file or variable the Authorization header is from; empty without one, or if it was passed in.
    """

    url: str
    headers: Mapping[str, str]
    credentials_source: str = ""

    def __repr__(self) -> str:
        return f"SentRequest(url={self.url!r}, credentials_source={self.credentials_source!r})"


class Response:
    """A response whose body has not been read.

    Attributes:
        request: the request that it answers.
        history: the requests before that, whose answers were redirects.
        raw: the response of the HTTP library.
        rejected_source: the credentials without which the request was repeated, since the host refused them.
        proxy: the proxy that a plain request went through, without credentials, and the variable that names it.
    """

    __slots__ = ("history", "proxy", "raw", "rejected_source", "request")

    def __init__(
        self,
        request: SentRequest,
        history: tuple[SentRequest, ...],
        raw: urllib3.BaseHTTPResponse,
        rejected_source: str = "",
        proxy: str = "",
    ) -> None:
        self.request, self.history, self.raw = request, history, raw
        self.rejected_source, self.proxy = rejected_source, proxy

    @property
    def url(self) -> str:
        """The URL that answered, after all redirects."""
        return self.request.url

    @property
    def status_code(self) -> int:
        """The HTTP status; 200 for 203, with which a proxy says that it has changed something on the way."""
        return 200 if self.raw.status == 203 else self.raw.status

    @property
    def reason(self) -> str:
        """The reason phrase."""
        return self.raw.reason or ""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by names in any case."""
        return self.raw.headers

    @property
    def redirect_target(self) -> str | None:
        """The Location header of a redirect, as text; None for any other response."""
        location = self.raw.headers.get("Location") if self.status_code in _REDIRECTS else None
        if not location:
            return None
        try:
            return location.encode("latin1").decode()  # http.client reads headers as Latin-1, and many servers send UTF-8
        except UnicodeError:
            return location

    def limit_read(self, size_bytes: int) -> None:
        """Bound the next read of the body, of ``size_bytes`` at most, in time and in what surrounds the body."""
        limits = getattr(self.raw, "read_limits", None)
        if limits is not None:
            limits.start_read(size_bytes)

    def close(self) -> None:
        """Close the connection, unless the body was read to its end."""
        if self.raw.length_remaining == 0:
            self.raw.drain_conn()  # nothing is left: the connection can be used again
        else:
            self.raw.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def get_content_length(response: Response) -> int | None:
    """Return the Content-Length in bytes; None if it is missing or malformed."""
    value = response.headers.get("Content-Length", "")
    return int(value) if re.fullmatch("[0-9]{1,18}", value) else None
