"""Translates HTTP statuses and errors of the HTTP library into the errors of this package, without secrets."""

from __future__ import annotations

import base64
import contextlib
import math
import os
import re
from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

import certifi
import requests
import requests.auth
import urllib3

from tfimm_resolver import settings
from tfimm_resolver._util.retry import Failure, classify_failure, is_retryable_status
from tfimm_resolver._util.text import describe_prefix
from tfimm_resolver.errors import AccessError, FetchError, NotFoundError, OfflineError, ResolverError, TransferTimeoutError
from tfimm_resolver.http import hosts

_BODY_START_BYTES = 300
_SECRET_HEADERS = ("Authorization", "Proxy-Authorization", "Cookie")
_ERROR_BY_STATUS = {401: AccessError, 403: AccessError, 404: NotFoundError, 410: NotFoundError}
_FIXES = {
    401: "The server requires credentials: check the handle, and netrc or the token for that host.",
    403: "The server denies access: check the handle, its access rights, and whether a signed URL has expired.",
    404: "Check the spelling of the handle and its version.",
    410: "The model was taken down: look for a newer version.",
    429: "Rate limited: try again later, or with TFIMM_RESOLVER_CONNECTIONS=1.",
}


def raise_for_status(response: requests.Response, handle: str) -> NoReturn:
    """Raise the error for an unexpected HTTP status; the message names the handle and quotes the start of the body."""
    start = "an unreadable body"
    with response, contextlib.suppress(FetchError), map_http_errors(response.url):
        start = describe_prefix(response.raw.read(_BODY_START_BYTES, decode_content=True))
    url = redact_url(response.url)
    raise _ERROR_BY_STATUS.get(response.status_code, FetchError)(
        f"{f'{handle}: ' if url != handle else ''}{url} answered {response.status_code} {_make_printable(response.reason)}: "
        + _redact_body(start, response),
        fix=_FIXES.get(response.status_code, "Server error: try again later."),
        is_passing=is_retryable_status(response.status_code),
        status=response.status_code,
        retry_after_s=_parse_retry_after(response),
    )


def redact_url(url: str) -> str:
    """Return a URL without userinfo, query and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


@contextlib.contextmanager
def map_http_errors(url: str) -> Iterator[None]:
    """Translate errors of the HTTP library, raised while ``url`` is requested or read, into errors of this package."""
    try:
        yield
    except ResolverError:
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        # The library's own messages show the query, which may be a signature.
        raise _translate(error, redact_url(url)) from (None if "?" in url else error)


def _translate(error: Exception, url: str) -> ResolverError:
    failure = classify_failure(error)
    if failure is Failure.TIMEOUT:
        connect_s, read_s = settings.timeouts_s()
        if isinstance(error, (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError)):
            text, variable = f"{url} accepted no connection within {connect_s:g} s", "TFIMM_RESOLVER_CONNECT_TIMEOUT_S"
        else:
            text, variable = f"{url} sent no data for {read_s:g} s", "TFIMM_RESOLVER_READ_TIMEOUT_S"
        return TransferTimeoutError(text, fix=f"Try again, or set {variable} higher.", is_passing=True)
    if isinstance(error, ValueError):  # InvalidURL, InvalidSchema and the like
        return FetchError(f"{url} is not a valid http or https URL, or redirects to one that is not")
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE" not in str(error):
        return FetchError(
            f"{url}: the TLS handshake failed: {_reason(error)}", fix="Check that the server speaks https on that port."
        )
    if isinstance(error, requests.exceptions.SSLError):
        return FetchError(
            f"{url} has no certificate that is trusted by {choose_ca_bundle()[1]}: {_reason(error)}",
            fix="Set REQUESTS_CA_BUNDLE to the right CA bundle.",
        )
    if failure is Failure.BROKEN or classify_failure(_find_innermost(error)) is Failure.BROKEN:
        return FetchError(f"{url}: the connection broke: {_reason(error)}", fix="Try again.", is_passing=True)
    if isinstance(error, requests.exceptions.ProxyError):
        return OfflineError(
            f"{url} cannot be reached through the proxy: {_reason(error)}",
            fix="Check http_proxy and https_proxy.",
            is_passing=True,
        )
    if isinstance(choose_ca_bundle()[0], str) and choose_ca_bundle()[0] in str(error):
        return FetchError(
            f"{url} cannot be requested: {choose_ca_bundle()[1]} cannot be read: {_reason(error)}", fix="Correct or unset it."
        )
    if failure is Failure.UNREACHABLE:
        return OfflineError(
            f"{url} cannot be reached: {_reason(error)}", fix="Check the network and the proxy.", is_passing=True
        )
    return FetchError(f"{url} could not be read: {_reason(error)}")


def _find_innermost(error: BaseException) -> BaseException:
    """Return the innermost error: requests reports a connection that was dropped before a response as one never made."""
    while inner := next((arg for arg in (getattr(error, "reason", None), *error.args) if isinstance(arg, Exception)), None):
        error = inner
    return error


def _reason(error: BaseException) -> str:
    """Return the innermost reason, without the addresses of Python objects that urllib3 puts into its messages."""
    return re.split(r"[>)]: ", str(_find_innermost(error)))[-1]


def _parse_retry_after(response: requests.Response) -> float | None:
    """Return the Retry-After delay in seconds, from a number or a date (RFC 9110, 10.2.3); None without that header."""
    with contextlib.suppress(urllib3.exceptions.InvalidHeader, OverflowError):
        reader = urllib3.Retry()
        reader.retry_after_max = math.inf  # type: ignore[assignment]  # RetryPolicy sets the limit
        return reader.parse_retry_after(response.headers["Retry-After"]) if "Retry-After" in response.headers else None
    return None


def choose_ca_bundle() -> tuple[Any, str]:
    """Return the value for requests' ``verify``, and its name for messages.

    requests itself reads REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE, but not SSL_CERT_FILE.
    """
    if not settings.is_tls_verified():
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return False, "TFHUB_DISABLE_CERT_VALIDATION"
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if path := os.environ.get(variable):
            return path, f"{variable}={path}"
    return True, f"the bundle of certifi ({certifi.where()})"


def _redact_body(text: str, response: requests.Response) -> str:
    """Remove the values of queries and secret headers from the text of a body: some servers echo them."""
    for hop in (response, *response.history):
        values = [value for _, value in parse_qsl(urlsplit(hop.url).query)]
        for name in (*hosts.get_headers(hop.url), *_SECRET_HEADERS):
            values += str(hop.request.headers.get(name, "")).split()
        for value in (*values, *filter(None, map(_decode_password, values))):
            text = text.replace(value, "…") if len(value) > 5 else text
    return text


def _decode_password(value: str) -> str:
    """Return the password of a Basic authorization, which some servers echo decoded."""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _make_printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text or "")
