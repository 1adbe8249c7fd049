"""The one table of statuses and exceptions after which a request is worth repeating."""

from __future__ import annotations

from enum import Enum

_CLOUDFLARE_STATUSES = {520, 521, 522, 523, 524}
RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504} | _CLOUDFLARE_STATUSES)
"""HTTP statuses that may be gone at the next try (RFC 9110, 15.5 and 15.6; RFC 6585, 4; RFC 8470, 5.2).

501 and 505 are not among them: a server does not learn a method or a version of HTTP meanwhile.
"""

THROTTLING_STATUSES = frozenset({429, 503})
"""Those of them that ask for fewer requests at once."""

CONFLICT_STATUSES = frozenset({409, 412})
"""Statuses of a bucket that two writers reached at once: retryable there, and nowhere else."""


class Failure(Enum):
    """How a request failed before its response was complete; each kind is worth another try."""

    TIMEOUT = "no response in time"
    UNREACHABLE = "no connection"
    BROKEN = "the connection broke"


_FAILURES = {
    "BrokenPipeError": Failure.BROKEN,
    "ChunkedEncodingError": Failure.BROKEN,  # requests
    "ConnectError": Failure.UNREACHABLE,  # httpx
    "ConnectTimeout": Failure.TIMEOUT,  # requests: also a ConnectionError
    "ConnectionAbortedError": Failure.BROKEN,
    "ConnectionError": Failure.UNREACHABLE,  # requests, and the builtin
    "ConnectionResetError": Failure.BROKEN,  # also http.client.RemoteDisconnected
    "ProtocolError": Failure.BROKEN,  # urllib3
    "ProxyError": Failure.UNREACHABLE,  # requests, httpx
    "Timeout": Failure.TIMEOUT,  # requests
    "TimeoutError": Failure.TIMEOUT,  # urllib3, concurrent.futures, and the builtin
    "TimeoutException": Failure.TIMEOUT,  # httpx
    "TransportError": Failure.BROKEN,  # httpx: the base of all the others
    "UnsupportedProtocol": Failure.UNREACHABLE,  # httpx
}
"""By the names of classes, since their modules depend on the HTTP library, and importing those takes long."""


def is_retryable_status(status: int | None) -> bool:
    """Whether a request that was answered with this HTTP status is worth repeating; not without a status."""
    return status in RETRYABLE_STATUSES


def classify_failure(error: BaseException) -> Failure | None:
    """Return how a request failed, by the most derived class of the error that the table has; None if it has none."""
    return next((_FAILURES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _FAILURES), None)
