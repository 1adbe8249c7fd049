"""What an answer, or the lack of one, means, in the errors of this package."""

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
from tfimm_resolver._util.text import describe_prefix
from tfimm_resolver.errors import AccessError, FetchError, NotFoundError, OfflineError, ResolverError, TransferTimeoutError
from tfimm_resolver.http import hosts

_BODY_START_BYTES = 300
_SECRET = ("OriginBoundAuth", "Proxy-OriginBoundAuth", "Cookie")
_RETRYABLE_STATUS = (408, 425, 429, 500, 502, 503, 504)
_ERROR_BY_STATUS = {401: AccessError, 403: AccessError, 404: NotFoundError, 410: NotFoundError}
_FIXES = {
    401: "The place wants credentials: check the handle, and netrc or the token for that host.",
    403: "The place refuses: check the handle, its access rights, and whether a signed URL has run out.",
    404: "Check the spelling of the handle and its version.",
    410: "The model was taken down: look for a newer version.",
    429: "The place is asked too often: try again later, or with TFIMM_RESOLVER_CONNECTIONS=1.",
}


def raise_for_status(reply: requests.Response, asked: str) -> NoReturn:
    """Raise what an answer means that is not the one hoped for, quoting its start; ``asked`` is the handle."""
    start = "nothing that can be read"
    with reply, contextlib.suppress(FetchError), map_http_errors(reply.url):
        start = describe_prefix(reply.raw.read(_BODY_START_BYTES, decode_content=True))
    place = redact_url(reply.url)
    wait_s = _retry_after_s(reply)
    raise _ERROR_BY_STATUS.get(reply.status_code, FetchError)(
        f"{f'{asked}: ' if place != asked else ''}{place} answered {reply.status_code} {_printable(reply.reason)}: "
        + _redact_body(start, reply),
        fix=_FIXES.get(reply.status_code, "The fault is at that place: try again later."),
        is_passing=reply.status_code in _RETRYABLE_STATUS,
        status=reply.status_code,
        retry_after_s=wait_s,
    )


def redact_url(url: str) -> str:
    """A URL without userinfo, query and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


@contextlib.contextmanager
def map_http_errors(url: str) -> Iterator[None]:
    """The one place where errors of the HTTP library become ours."""
    try:
        yield
    except ResolverError:
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        # The library's own texts show the query, which may be a signature.
        raise _translation(error, redact_url(url)) from (None if "?" in url else error)


def _translation(error: Exception, place: str) -> ResolverError:
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        connect_s, read_s = settings.timeouts_s()
        if isinstance(error, (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError)):
            text, variable = f"{place} took no connection for {connect_s:g} s", "TFIMM_RESOLVER_CONNECT_TIMEOUT_S"
        else:
            text, variable = f"{place} sent nothing for {read_s:g} s", "TFIMM_RESOLVER_READ_TIMEOUT_S"
        return TransferTimeoutError(text, fix=f"Try again, or set {variable} higher.", is_passing=True)
    if isinstance(error, ValueError):  # InvalidURL, InvalidSchema and the like
        return FetchError(f"{place} has no host that can be asked, or redirects to no http or https address")
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE" not in str(error):
        return FetchError(
            f"{place} does not speak TLS as it should: {_reason(error)}", fix="Check that it serves https at that port."
        )
    if isinstance(error, requests.exceptions.SSLError):
        return FetchError(
            f"{place} shows no certificate that is trusted by {_certificates()[1]}: {_reason(error)}",
            fix="Set REQUESTS_CA_BUNDLE to the right CA bundle.",
        )
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.ProtocolError)) or _is_reset(error):
        return FetchError(f"{place} broke off: {_reason(error)}", fix="Try again.", is_passing=True)
    if isinstance(error, requests.exceptions.ProxyError):
        return OfflineError(
            f"{place} is out of reach through the proxy: {_reason(error)}",
            fix="Check http_proxy and https_proxy.",
            is_passing=True,
        )
    if isinstance(_certificates()[0], str) and _certificates()[0] in str(error):
        return FetchError(
            f"{place} cannot be asked: {_certificates()[1]} cannot be read: {_reason(error)}", fix="Mend or unset it."
        )
    if isinstance(error, requests.ConnectionError):
        return OfflineError(
            f"{place} is out of reach: {_reason(error)}", fix="Check the network and the proxy.", is_passing=True
        )
    return FetchError(f"{place} could not be read: {_reason(error)}")


def _is_reset(error: BaseException) -> bool:
    """Whether the peer, or a proxy, took the connection and dropped it before it answered."""
    return isinstance(_innermost(error), ConnectionResetError)  # http.client.RemoteDisconnected is one


def _innermost(error: BaseException) -> BaseException:
    while inner := next((arg for arg in (getattr(error, "reason", None), *error.args) if isinstance(arg, Exception)), None):
        error = inner
    return error


def _reason(error: BaseException) -> str:
    """The innermost reason, without the addresses of Python objects that urllib3 puts into its messages."""
    return re.split(r"[>)]: ", str(_innermost(error)))[-1]


def _retry_after_s(reply: requests.Response) -> float | None:
    """Retry-After in seconds, from either of its forms (RFC 9110, 10.2.3)."""
    with contextlib.suppress(urllib3.exceptions.InvalidHeader, OverflowError):
        reader = urllib3.Retry()
        reader.retry_after_max = math.inf  # type: ignore[assignment]  # how long is too long, we decide
        return reader.parse_retry_after(reply.headers["Retry-After"]) if "Retry-After" in reply.headers else None
    return None


def _certificates() -> tuple[Any, str]:
    """What requests' ``verify`` takes, and its name. requests itself knows REQUESTS_CA_BUNDLE, but not SSL_CERT_FILE."""
    if not settings.is_tls_verified():
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return False, "TFHUB_DISABLE_CERT_VALIDATION"
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if path := os.environ.get(variable):
            return path, f"{variable}={path}"
    return True, f"the bundle of certifi ({certifi.where()})"


def _redact_body(text: str, reply: requests.Response) -> str:
    """What a server says, without the values of queries and of headers that are nobody's business, which some echo."""
    for asked in (reply, *reply.history):
        values = [value for _, value in parse_qsl(urlsplit(asked.url).query)]
        for name in (*hosts.headers(asked.url), *_SECRET):
            values += str(asked.request.headers.get(name, "")).split()
        for value in (*values, *filter(None, map(_plain, values))):
            text = text.replace(value, "…") if len(value) > 5 else text
    return text


def _plain(value: str) -> str:
    """The password of a Basic authorization, which some echo decoded."""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text or "")
