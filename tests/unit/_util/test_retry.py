"""The table of retryable statuses and exceptions: the same for HTTP, buckets and Hugging Face."""

from __future__ import annotations

import concurrent.futures
import http.client
import importlib.util
import socket

import pytest
import urllib3

from tfimm_resolver._util.retry import Failure, classify_failure, is_retryable_status


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 522])
def test_these_statuses_are_retryable(status: int) -> None:
    assert is_retryable_status(status)


@pytest.mark.parametrize("status", [None, 200, 400, 401, 403, 404, 409, 410, 412, 416, 501, 505, 511])
def test_others_are_not(status: int | None) -> None:
    assert not is_retryable_status(status)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (TimeoutError(), Failure.TIMEOUT),
        (concurrent.futures.TimeoutError(), Failure.TIMEOUT),
        (urllib3.exceptions.ReadTimeoutError(None, "", ""), Failure.TIMEOUT),  # type: ignore[arg-type]
        (urllib3.exceptions.ConnectTimeoutError(), Failure.CONNECT_TIMEOUT),
        (urllib3.exceptions.ProxyError("", ValueError()), Failure.UNREACHABLE),
        (socket.gaierror(socket.EAI_AGAIN, ""), Failure.NAME_UNKNOWN_FOR_NOW),
        (socket.gaierror(socket.EAI_NONAME, ""), Failure.NAME_UNKNOWN),
        (ConnectionRefusedError(), Failure.UNREACHABLE),
        (urllib3.exceptions.ProtocolError(), Failure.BROKEN),
        (http.client.RemoteDisconnected(), Failure.BROKEN),
        (FileNotFoundError(), None),
        (urllib3.exceptions.LocationParseError(""), None),
    ],
)
def test_exceptions_are_classified_by_their_most_derived_class(error: Exception, failure: Failure | None) -> None:
    assert classify_failure(error) is failure


def test_errors_of_httpx_are_classified_by_name() -> None:
    # By one of the two huggingface_hub makes its requests, whichever its version needs.
    httpx = importlib.import_module("httpx2" if importlib.util.find_spec("httpx2") else "httpx")
    kinds = {
        "ConnectError": Failure.UNREACHABLE,
        "ConnectTimeout": Failure.TIMEOUT,
        "ReadTimeout": Failure.TIMEOUT,
        "ProxyError": Failure.UNREACHABLE,
        "ReadError": Failure.BROKEN,
        "RemoteProtocolError": Failure.BROKEN,
        "HTTPStatusError": None,
    }
    for name, failure in kinds.items():
        kind = getattr(httpx, name)
        assert classify_failure(kind.__new__(kind)) is failure, name
