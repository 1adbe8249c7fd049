"""Translates HTTP statuses and errors of the HTTP library into the errors of this package, without secrets."""

from __future__ import annotations

import base64
import contextlib
import math
import os
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit

import certifi
import requests
import requests.auth
import urllib3

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import clean_value, find_safe_cause, mask_value, register_secret, show
from tfimm_resolver._util.retry import Failure, classify_failure, is_retryable_status
from tfimm_resolver._util.text import describe_prefix
from tfimm_resolver.errors import AccessError, FetchError, NotFoundError, OfflineError, ResolverError, TransferTimeoutError
from tfimm_resolver.http import hosts

_BODY_START_BYTES = 300
_SECRET_CHARACTERS_MIN, _TOKEN_CHARACTERS_MIN = 6, 12
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
        body = response.raw.read(_BODY_START_BYTES, decode_content=True)
        text = body.decode("utf-8", "replace")
        redacted = _redact_answer(text, response)  # before it is quoted, to see where it ends
        start = describe_prefix(body if redacted == text else redacted.encode())
    url = redact_url(response.url)
    where = "" if url == handle else f"{handle}: "
    answer = _redact_answer(f"{response.status_code} {clean_value(response.reason or '')}: {start}", response)
    raise _ERROR_BY_STATUS.get(response.status_code, FetchError)(
        f"{where}{_redact_answer(url, response) if where else url} answered {answer}",
        fix=_FIXES.get(response.status_code, "Server error: try again later."),
        is_passing=is_retryable_status(response.status_code),
        status=response.status_code,
        retry_after_s=_parse_retry_after(response),
    )


def redact_url(url: str) -> str:
    """Return a URL without userinfo, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as that of a redirect
        return mask_value(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


@contextlib.contextmanager
def map_http_errors(url: str) -> Iterator[None]:
    """Translate errors of the HTTP library, raised while ``url`` is requested or read, into errors of this package."""
    try:
        yield
    except ResolverError:
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        # The library's own messages show the query, which may be a signature, also that of a URL that it was redirected to.
        raise _translate(error, redact_url(url)) from (
            None if "?" in url or isinstance(error, ValueError) else find_safe_cause(error)
        )


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
    return show(re.split(r"[>)]: ", str(_find_innermost(error)))[-1])


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


def _redact_answer(text: str, response: requests.Response) -> str:
    """Remove what was secret in the requests from the text of their answer: some servers echo it, in any encoding."""
    for form in sorted(_list_secret_forms(response), key=len, reverse=True):
        text = re.sub(re.escape(form), "…", text, flags=re.IGNORECASE)
        cut = next((end for end in range(len(form) - 1, 3, -1) if text.lower().endswith(form[:end].lower())), 0)
        text = text[:-cut] + "…" if cut else text  # the quotation ends within the secret
    return text


def _list_secret_forms(response: requests.Response) -> set[str]:
    """Return the values of queries, of secret headers and of user info, as sent, decoded, and encoded for URLs and HTML."""
    values: set[str] = set()
    for hop in (response, *response.history):
        parts = urlsplit(hop.url)
        values |= {field.partition("=")[2] or field for field in parts.query.split("&")}
        for name in (*hosts.get_headers(hop.url), *_SECRET_HEADERS):
            for word in str(hop.request.headers.get(name, "")).split():
                values |= {word, *_decode_basic(word)}
        values |= _select_secrets(*parts.netloc.rpartition("@")[0].partition(":")[::2])
    values |= {decoded for value in values for decoded in (unquote(value), unquote_plus(value))}
    values = {value for value in values if len(value) >= _SECRET_CHARACTERS_MIN}
    return {
        form for value in values for form in (value, quote(value), quote(value, safe=""), quote_plus(value), escape(value))
    }


def register_credentials(headers: Mapping[str, str]) -> None:
    """Mask the credentials of a request in all texts, also those of answers that other libraries read."""
    for name in _SECRET_HEADERS:
        for word in str(headers.get(name, "")).split()[1:]:
            for secret in (word, *_decode_basic(word)):
                register_secret(secret)


def _decode_basic(value: str) -> set[str]:
    """Return the secrets of a Basic authorization, which some servers echo decoded."""
    try:
        return _select_secrets(*base64.b64decode(value, validate=True).decode().partition(":")[::2])
    except ValueError:
        return set()


def _select_secrets(user: str, password: str) -> set[str]:
    """Return the password, and the user if it may be a token: then the password is missing, or the user is long."""
    is_token = password in ("", "x-oauth-basic", "x") or len(user) >= _TOKEN_CHARACTERS_MIN
    return {password, *([user] if is_token else [])}
