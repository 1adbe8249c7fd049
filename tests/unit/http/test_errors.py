"""HTTP statuses and errors of the HTTP library become errors of this package, without secrets."""

from __future__ import annotations

import io
import socket
import ssl

import pytest
import urllib3

from tfimm_resolver.errors import (
    AccessError,
    FetchError,
    NotFoundError,
    OfflineError,
    TransferTimeoutError,
)
from tfimm_resolver.http.errors import map_http_errors, raise_for_status, redact_url
from tfimm_resolver.http.response import Response, SentRequest

URL, HANDLE = "https://h/m?sig=hunter22", "lion"
POOL = urllib3.HTTPConnectionPool("h")


def make_response(
    status: int, body: bytes = b"Sorry", headers: dict[str, str] | None = None, source: str = "", url: str = URL
) -> Response:
    """Return a response that was read from memory."""
    raw = urllib3.HTTPResponse(io.BytesIO(body), headers, status, reason="Reason", preload_content=False)
    return Response(SentRequest(url, {}, source), (), raw)


@pytest.mark.parametrize(
    ("status", "kind", "is_passing"),
    [
        (401, AccessError, False),
        (403, AccessError, False),
        (404, NotFoundError, False),
        (410, NotFoundError, False),
        (418, FetchError, False),
        (429, FetchError, True),
        (503, FetchError, True),
    ],
)
def test_a_status_is_an_error_of_its_kind_that_quotes_the_answer(
    status: int, kind: type[FetchError], is_passing: bool
) -> None:
    with pytest.raises(FetchError) as caught:
        raise_for_status(make_response(status, b"the key hunter22 is wrong"), HANDLE)
    error = caught.value
    assert (type(error), error.status, error.is_passing) == (kind, status, is_passing) and error.fix
    assert error.text == f"lion: https://h/m answered {status} Reason: 'the key … is wrong'"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b"<!DOCTYPE html>\n<html><head><title>Not\n found &amp; gone</title></head><body>long",
            ": 'Not found & gone'",
        ),
        (b"\n <!-- built by x -->\n<HTML lang=en><HEAD><style>a{b:c}</style>", ""),
        (b"<html><title></title>", ""),
        (b"<html><title>the key hunter22</title>", ": 'the key …'"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "<Code>NoSuchKey</Code>"),
        (b"html is not supported", ": 'html is not supported'"),
    ],
    ids=["title", "no title", "empty title", "secret", "xml", "text"],
)
def test_of_a_web_page_only_the_title_is_shown(body: bytes, expected: str) -> None:
    with pytest.raises(FetchError) as caught:
        raise_for_status(make_response(404, body), HANDLE)
    assert expected in caught.value.text and ("<" not in caught.value.text or "<Code>" in expected)
    assert caught.value.text.endswith("404 Reason") or expected


@pytest.mark.parametrize(
    ("value", "delay_s"),
    [
        ("7", 7.0),
        ("soon", None),
        (None, None),
        ("9" * 400, 10**9),
        ("9" * 5000, 10**9),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
    ids=["seconds", "word", "none", "too large for a float", "too large for an int", "no year"],
)
def test_the_delay_that_the_server_asks_for_is_read(value: str | None, delay_s: float | None) -> None:
    with pytest.raises(FetchError) as caught:
        raise_for_status(make_response(503, headers={"Retry-After": value} if value else {}), HANDLE)
    assert caught.value.retry_after_s == delay_s


def test_a_refusal_names_where_the_credentials_are_from() -> None:
    with pytest.raises(AccessError, match="asked with the credentials of HF_TOKEN"):
        raise_for_status(make_response(401, source="HF_TOKEN"), HANDLE)


@pytest.mark.parametrize(
    ("url", "heading"),
    [
        ("https://h/m", 'under ["h"].'),
        ("https://a:b@h:8443/m", 'under ["h:8443"].'),
        ("http://h/m", 'under ["http://h:80"]: over http'),
        ("http://h:8080/m", 'under ["http://h:8080"]: over http'),
    ],
)
def test_missing_credentials_are_wanted_where_they_would_be_sent(url: str, heading: str) -> None:
    with pytest.raises(AccessError) as caught:
        raise_for_status(make_response(401, url=url), HANDLE)
    assert heading in caught.value.fix and ("netrc" in caught.value.fix) == url.startswith("https")


@pytest.mark.parametrize(
    ("url", "expected"),
    [("https://ada:hunter22@h:1/m?sig=hunter22#hunter22", "https://h:1/m"), ("https://[h/m?sig=hunter22", "https://[h/m")],
)
def test_a_url_is_shown_without_its_secrets(url: str, expected: str) -> None:
    assert redact_url(url) == expected


@pytest.mark.parametrize(
    ("error", "kind", "text", "is_passing"),
    [
        (urllib3.exceptions.ReadTimeoutError(POOL, URL, "hunter22"), TransferTimeoutError, "sent no data for", True),
        (urllib3.exceptions.ConnectTimeoutError(POOL, "hunter22"), TransferTimeoutError, "accepted no connection", True),
        (
            urllib3.exceptions.ProtocolError("broken", ConnectionResetError(104, "reset")),
            FetchError,
            "the connection broke",
            True,
        ),
        (ConnectionRefusedError(111, "refused"), OfflineError, "cannot be reached", True),
        (ValueError("hunter22"), FetchError, "is not a valid http or https URL", False),
        (urllib3.exceptions.SSLError(ssl.SSLError("wrong version")), FetchError, "the TLS handshake failed", False),
    ],
    ids=["read timeout", "connect timeout", "broken", "refused", "invalid", "handshake"],
)
def test_an_error_of_the_library_is_an_error_of_its_kind(
    error: Exception, kind: type[FetchError], text: str, is_passing: bool
) -> None:
    with pytest.raises(FetchError, match=text) as caught, map_http_errors(URL):
        raise error
    assert (type(caught.value), caught.value.is_passing) == (kind, is_passing)
    assert "https://h/m" in caught.value.text and "hunter22" not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "Check the spelling of the host, the network"),
        (socket.gaierror(socket.EAI_AGAIN, "unknown"), "Check the spelling of the host, the network"),
        (ConnectionRefusedError(111, "refused"), "Check the host and its port, the network"),
        (OSError(113, "No route to host"), "Check the host and its port, the network"),
    ],
    ids=["unknown", "unknown for now", "refused", "no route"],
)
def test_what_to_check_if_a_host_cannot_be_reached(error: OSError, advice: str) -> None:
    connection = urllib3.exceptions.NewConnectionError(POOL, "failed")  # type: ignore[arg-type]
    connection.__cause__ = error
    with pytest.raises(OfflineError) as caught, map_http_errors(URL):
        raise connection
    assert caught.value.fix.startswith(advice)


def test_an_error_of_this_package_passes_unchanged() -> None:
    error = NotFoundError("gone")
    with pytest.raises(NotFoundError) as caught, map_http_errors(URL):
        raise error
    assert caught.value is error
