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
    """How a request failed before its response was complete; all but an unknown name are worth another try."""

    TIMEOUT = "no response in time"
    CONNECT_TIMEOUT = "no connection in time"
    UNREACHABLE = "no connection"
    BROKEN = "the connection broke"
    NAME_UNKNOWN = "the name does not exist"
    NAME_UNKNOWN_FOR_NOW = "the name could not be looked up for now"


_EAI_AGAIN = -3
"""Of getaddrinfo on Linux; the module ``socket`` is not imported for it."""

_CAUSES_MAX = 20
_FAILURES = {
    "BrokenPipeError": Failure.BROKEN,
    "ConnectError": Failure.UNREACHABLE,  # httpx
    "ConnectTimeout": Failure.TIMEOUT,  # httpx
    "ConnectTimeoutError": Failure.CONNECT_TIMEOUT,  # urllib3
    "ConnectionAbortedError": Failure.BROKEN,
    "ConnectionError": Failure.UNREACHABLE,
    "ConnectionResetError": Failure.BROKEN,  # also http.client.RemoteDisconnected
    "ProtocolError": Failure.BROKEN,  # urllib3
    "HTTPException": Failure.BROKEN,  # http.client
    "IncompleteRead": Failure.BROKEN,  # http.client, urllib3
    "NameResolutionError": Failure.NAME_UNKNOWN,  # urllib3
    "NewConnectionError": Failure.UNREACHABLE,  # urllib3
    "ProxyError": Failure.UNREACHABLE,  # urllib3, httpx
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
    if type(error).__name__ == "gaierror" and error.args:
        return Failure.NAME_UNKNOWN_FOR_NOW if error.args[0] == _EAI_AGAIN else Failure.NAME_UNKNOWN
    return next((_FAILURES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _FAILURES), None)


def find_failures(error: BaseException) -> set[Failure]:
    """Return how a request failed, by the error and those that led to it."""
    found: set[Failure | None] = set()
    seen: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if seen is None:
            break
        found.add(classify_failure(seen))
        seen = seen.__cause__ or seen.__context__
    return {failure for failure in found if failure is not None}
