"""Translates HTTP statuses and errors of the HTTP library into the errors of this package, without secrets."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

import urllib3

from tfimm_resolver import settings
from tfimm_resolver._util import clock
from tfimm_resolver._util.outgoing import clean_value, find_safe_cause, mask_value, show
from tfimm_resolver._util.retry import Failure, classify_failure, is_retryable_status
from tfimm_resolver._util.text import describe_prefix
from tfimm_resolver.errors import AccessError, FetchError, NotFoundError, OfflineError, ResolverError, TransferTimeoutError
from tfimm_resolver.http import tls
from tfimm_resolver.http.redaction import redact_answer

if TYPE_CHECKING:
    from tfimm_resolver.http.response import Response
    from tfimm_resolver.settings.network import Proxy

_BODY_START_BYTES, _BODY_START_S = 300, 5.0
_REASON_CHARACTERS, _CAUSES_MAX = 200, 20
_RETRY_AFTER_MAX_S = 10**9  # what a longer delay counts as: RetryPolicy waits for neither
_PAGE_START = re.compile(r"\s*(?:<!--.*?-->\s*)*<(?:!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_PAGE_TITLE = re.compile(r"<title[^>]*>([^<]+)</title", re.IGNORECASE)
_TUNNEL_STATUS = re.compile(r"Tunnel connection failed: (\d{3})\b(.*)", re.DOTALL)
_NOT_A_PROXY = (*range(300, 400), 400, 404, 405, 501)
"""What web servers answer to CONNECT; a proxy that refuses a host answers 403, one that cannot reach it 502 to 504."""
_OWN_ANSWERS_OF_PROXIES = (401, 403, *range(500, 505))
"""What proxies answer for a host that is not allowed or that they cannot reach; tinyproxy 401 to a wrong login."""
_ERROR_BY_STATUS = {401: AccessError, 403: AccessError, 404: NotFoundError, 410: NotFoundError}
REDIRECT_FIX = "Open the URL in a browser to see where it leads, and give the URL of the archive itself."
_FIXES = {
    403: "The server denies access: check the handle, its access rights, and whether a signed URL has expired.",
    404: "Check the spelling of the handle and its version.",
    410: "The model was taken down: look for a newer version.",
    429: "Rate limited: try again later, or with TFIMM_RESOLVER_CONNECTIONS=1.",
}


def raise_for_status(response: Response, handle: str) -> NoReturn:
    """Raise the error for an unexpected HTTP status; the message names the handle and quotes the start of the body."""
    if response.proxy and response.status_code == 407:
        response.close()
        raise make_proxy_login_error(redact_url(response.url), response.proxy)
    start = "an unreadable body"
    with response, contextlib.suppress(FetchError), map_http_errors(response.url):
        body = _read_body_start(response)
        text = body.decode("utf-8", "replace")
        redacted = redact_answer(text, response)  # before it is quoted, to see where it ends
        quoted = _shorten_page(redacted)
        start = describe_prefix(body if quoted == text else quoted.encode()) if quoted else ""
    url = redact_url(response.url)
    where = "" if url == handle else f"{handle}: "
    answer = redact_answer(f"{response.status_code} {clean_value(response.reason or '')}{start and f': {start}'}", response)
    raise _ERROR_BY_STATUS.get(response.status_code, FetchError)(
        f"{where}{redact_answer(url, response) if where else url} answered {answer}{_describe_request(response)}",
        fix=_suggest_fix(response),
        is_passing=is_retryable_status(response.status_code),
        status=response.status_code,
        retry_after_s=_parse_retry_after(response),
    )


def _suggest_fix(response: Response) -> str:
    if response.status_code != 401:
        return _FIXES.get(response.status_code, "Server error: try again later.")
    parts = urlsplit(response.url)
    host = clean_value(parts.netloc.rpartition("@")[2])
    required = "The server requires credentials: check the handle, and"
    if parts.scheme == "https":
        return f'{required} the login in netrc or the token in hosts.toml, under ["{host}"].'
    heading = host if parts.port else f"{host}:80"
    return f'{required} the token in hosts.toml, under ["http://{heading}"]: over http no other login is sent.'


def _describe_request(response: Response) -> str:
    """Say which credentials the host refused, without what they are, and which proxy may have answered in its place."""
    if response.proxy and response.status_code in _OWN_ANSWERS_OF_PROXIES:
        return f"\n  asked through the proxy {response.proxy}, which may have answered itself"
    if response.status_code not in (400, 401, 403):
        return ""
    if response.rejected_source:
        return f"\n  asked with the login of {response.rejected_source}, and once more without it"
    source = response.request.credentials_source
    return f"\n  asked with the credentials of {source}" if source else ""


def _shorten_page(text: str) -> str:
    """Return the title of a web page instead of its source, if its start contains one; any other text as it is."""
    if not _PAGE_START.match(text):
        return text
    from html import unescape

    title = _PAGE_TITLE.search(text)
    return unescape(" ".join(title[1].split())) if title else ""


def _read_body_start(response: Response) -> bytes:
    """Read the start of a body that explains an error; what has arrived in a few seconds has to do."""
    body, until_s = b"", clock.get_monotonic_s() + min(_BODY_START_S, settings.timeouts_s()[1])
    while len(body) < _BODY_START_BYTES and clock.get_monotonic_s() < until_s:
        response.limit_read(_BODY_START_BYTES)
        try:
            chunk = response.raw.read1(_BODY_START_BYTES - len(body), decode_content=True)
        except (urllib3.exceptions.HTTPError, OSError):
            if body:
                break
            raise
        if not chunk:
            break
        body += chunk
    return body


def redact_url(url: str) -> str:
    """Return a URL without userinfo, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as that of a redirect
        return mask_value(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


@contextlib.contextmanager
def map_http_errors(url: str, proxy: Proxy | None = None) -> Iterator[None]:
    """Translate errors of the HTTP library, raised while ``url`` is requested or read, into errors of this package."""
    try:
        yield
    except ResolverError:
        raise
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        # The library's own messages show the query, which may be a signature, also that of a URL that it was redirected to.
        raise _add_proxy(_translate(error, redact_url(url), proxy), proxy) from (
            None if "?" in url or isinstance(error, ValueError) else find_safe_cause(error)
        )


def _add_proxy(error: FetchError, proxy: Proxy | None) -> FetchError:
    """Name the proxy in an error that may be its own: of a connection that broke, or of no answer in time."""
    if proxy is None or not error.is_passing or proxy.url in error.text:
        return error
    return error.with_message(f"{error.text}\n  asked through the proxy {proxy.url} of {proxy.variable}")


def _translate(error: Exception, url: str, proxy: Proxy | None) -> FetchError:
    innermost = _find_innermost(error)
    failure = classify_failure(error)
    if failure not in (Failure.TIMEOUT, Failure.CONNECT_TIMEOUT):
        failure = classify_failure(innermost) or (None if isinstance(error, urllib3.exceptions.ProxyError) else failure)
    is_broken = failure is Failure.BROKEN
    if (isinstance(error, urllib3.exceptions.ProxyError) and not is_broken) or (
        proxy is not None and proxy.is_socks and _is_unreachable(error)
    ):
        return _make_proxy_error(url, proxy, innermost)
    if failure in (Failure.TIMEOUT, Failure.CONNECT_TIMEOUT):
        return _make_timeout_error(error, url)
    if isinstance(error, ValueError):  # InvalidURL, InvalidSchema and the like
        return FetchError(
            f"{url} is not a valid http or https URL, or redirects to one that is not",
            fix=REDIRECT_FIX,
        )
    if isinstance(error, urllib3.exceptions.SSLError):
        return _make_tls_error(url, error)
    if is_broken:
        return FetchError(f"{url}: the connection broke: {_reason(error)}", fix="Try again.", is_passing=True)
    if failure in (Failure.UNREACHABLE, Failure.NAME_UNKNOWN, Failure.NAME_UNKNOWN_FOR_NOW):
        checked = "the host and its port" if failure is Failure.UNREACHABLE else "the spelling of the host"
        fix = f"Check {checked}, the network and the proxy."
        return OfflineError(f"{url} cannot be reached: {_reason(error)}", fix=fix, is_passing=True)
    return FetchError(f"{url} could not be read: {_reason(error)}", fix="Try again.")


def _is_unreachable(error: Exception) -> bool:
    never_connected = (Failure.UNREACHABLE, Failure.CONNECT_TIMEOUT, Failure.NAME_UNKNOWN, Failure.NAME_UNKNOWN_FOR_NOW)
    return classify_failure(error) in never_connected


def _make_timeout_error(error: Exception, url: str) -> TransferTimeoutError:
    connect_s, read_s = settings.timeouts_s()
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        text, variable = f"{url} accepted no connection within {connect_s:g} s", "TFIMM_RESOLVER_CONNECT_TIMEOUT_S"
    else:
        text, variable = f"{url} sent no data for {read_s:g} s", "TFIMM_RESOLVER_READ_TIMEOUT_S"
    return TransferTimeoutError(text, fix=f"Try again, or set {variable} higher.", is_passing=True)


def _make_tls_error(url: str, error: Exception) -> FetchError:
    if "CERTIFICATE" not in str(error).upper():
        fix = "Check that the server speaks https on that port."
        return FetchError(f"{url}: the TLS handshake failed: {_reason(error)}", fix=fix)
    return FetchError(
        f"{url} has no certificate that is trusted by {tls.describe_trust()}: {_reason(error)}",
        fix="Set REQUESTS_CA_BUNDLE to a file or directory with the right CA certificate.",
    )


def _make_proxy_error(url: str, proxy: Proxy | None, error: BaseException) -> FetchError:
    """Return the error of a connection that a proxy did not make."""
    where = f"{proxy.url} of {proxy.variable}" if proxy else "of the environment"
    status = _TUNNEL_STATUS.search(str(error))
    if (status and status[1] in ("401", "407")) or "authentication" in str(error).lower():
        return make_proxy_login_error(url, where, str(error))
    if status:
        return _make_tunnel_error(url, proxy, where, int(status[1]), clean_value(status[2].strip(), _REASON_CHARACTERS))
    if isinstance(error, OSError) and "CERTIFICATE" in str(error).upper():
        text = f"the certificate of the proxy {where} is not trusted by {tls.describe_trust()}: {_reason(error)}"
        return FetchError(f"{url}: {text}", fix="Set REQUESTS_CA_BUNDLE to a file or directory with its CA certificate.")
    variable = proxy.variable if proxy else "http_proxy and https_proxy"
    return OfflineError(
        f"{url} cannot be reached through the proxy {where}: {_reason(error)}",
        fix=f"Check {variable}, or name the host in no_proxy.",
        is_passing=True,
    )


def _make_tunnel_error(url: str, proxy: Proxy | None, where: str, status: int, reason: str) -> FetchError:
    """Return the error of a proxy that answered CONNECT with a status, or of a server that is not a proxy."""
    text, fix = f"{url}: the proxy {where} answered {status} to CONNECT{reason and f': {reason}'}", ""
    if status in _NOT_A_PROXY:
        text = f"{text}; it does not act as a proxy for https"
        fix = f"Check the host and the port in {proxy.variable if proxy else 'https_proxy'}: it may be a web server."
    return FetchError(
        text, fix=fix or "Check that the host is up, and that the proxy allows it.", is_passing=is_retryable_status(status)
    )


def make_proxy_login_error(url: str, where: str, reason: str = "") -> FetchError:
    """Return the error of a proxy that demands a user and a password."""
    detail = f": {_reason_of_text(reason)}" if reason else " (407)"
    return FetchError(
        f"{url}: the proxy {where} requires a user and a password, or refuses those that were sent{detail}",
        fix="Write both before the proxy's host in that variable, as USER:PASSWORD@, with special characters percent-encoded.",
        status=407,
    )


def _reason_of_text(text: str) -> str:
    return clean_value(re.split(r"[>)]: ", text)[-1], _REASON_CHARACTERS)


def _find_innermost(error: BaseException) -> BaseException:
    """Return the innermost error: urllib3 nests those of the system, of TLS and of proxies in its own."""
    for _ in range(_CAUSES_MAX):
        inner = [getattr(error, name, None) for name in ("reason", "original_error")]
        cause = error.__cause__ if isinstance(error, urllib3.exceptions.NewConnectionError) else None
        found = next((one for one in (*inner, *error.args, cause) if isinstance(one, BaseException)), None)
        if found is None:
            break
        error = found
    return error


def _reason(error: BaseException) -> str:
    """Return the innermost reason, without the addresses of Python objects that urllib3 puts into its messages."""
    return show(re.split(r"[>)]: ", str(_find_innermost(error)))[-1])


def _parse_retry_after(response: Response) -> float | None:
    """Return the Retry-After delay in seconds, from a number or a date (RFC 9110, 10.2.3); None without a valid header."""
    value = response.headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{10,}", value):
        return _RETRY_AFTER_MAX_S
    with contextlib.suppress(urllib3.exceptions.InvalidHeader, OverflowError, ValueError):  # such as a year of five digits
        reader = urllib3.Retry()
        reader.retry_after_max = math.inf  # type: ignore[assignment]  # RetryPolicy sets the limit
        return reader.parse_retry_after(value) if value else None
    return None
