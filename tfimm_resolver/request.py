"""One request over HTTP: sent, answered or refused, and its errors in the words of this package."""

from __future__ import annotations

import base64
import contextlib
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urljoin, urlsplit

import certifi
import requests
import requests.auth
import urllib3

from tfimm_resolver import hosts, settings
from tfimm_resolver.archive import quoted
from tfimm_resolver.errors import AccessError, FetchError, NotFoundError, OfflineError, ResolverError, TransferTimeoutError

log = logging.getLogger("tfimm_resolver")

_BODY_START_BYTES = 300
_SECRET = ("Authorization", "Proxy-Authorization", "Cookie")
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_KINDS = {401: AccessError, 403: AccessError, 404: NotFoundError, 410: NotFoundError}
_FIXES = {
    401: "The place wants credentials: check the handle, and netrc or the token for that host.",
    403: "The place refuses: check the handle, its access rights, and whether a signed URL has run out.",
    404: "Check the spelling of the handle and its version.",
    410: "The model was taken down: look for a newer version.",
    429: "The place is asked too often: try again later, or with TFIMM_RESOLVER_CONNECTIONS=1.",
}


class Authorization(requests.auth.AuthBase):
    """Who asks, told to the host of one URL and to no other, whatever that host redirects to."""

    def __init__(self, url: str, value: str) -> None:
        """``value`` is that of the header."""
        self._origin, self._value = _origin(url), value

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        if _origin(prepared.url or "") == self._origin:
            prepared.headers["Authorization"] = self._value
        return prepared


class Session(requests.Session):
    """A requests session that follows redirects to http and https only, never gives up https, and sends each host its own."""

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """The request, with what the user's file has for its host."""
        prepared = super().prepare_request(request)
        prepared.headers.update(hosts.headers(prepared.url or ""))
        return prepared

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Take from a redirected request what was for the host before, and give it what is for the next."""
        for name in hosts.headers(response.request.url or ""):
            prepared_request.headers.pop(name, None)
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
        if self.authorization is not None:  # what netrc says has just taken its place
            self.authorization(prepared_request)
        prepared_request.headers.update(hosts.headers(prepared_request.url or ""))

    def __init__(self, authorization: Authorization | None = None) -> None:
        """With ``authorization``, netrc is not asked."""
        super().__init__()
        self.auth = self.authorization = authorization
        self.follows_redirects = True

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where an answer redirects to, if that is to be followed; requests calls this before it reads the body."""
        target = super().get_redirect_target(resp) if self.follows_redirects else None
        if target is not None:
            _discard_body(resp)
            _check_redirect(resp.url, target)
        return target


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _discard_body(reply: requests.Response) -> None:
    """Close the connection of an answer, and keep requests from reading its body, which has no limit, into memory."""
    reply.close()
    reply._content, reply._content_consumed = b"", True  # type: ignore[attr-defined]


def _check_redirect(url: str, target: str) -> None:
    address, place = urljoin(url, target), without_secrets(url)
    scheme = urlsplit(address).scheme.lower()
    if scheme not in ("http", "https"):
        raise FetchError(f"{place} redirects to {without_secrets(address)!r}, which is no http or https address")
    if scheme == "http" and url.lower().startswith("https:"):
        raise FetchError(
            f"{place} redirects from https to {without_secrets(address)}",
            fix="Anybody on the way could change the model there: ask for that URL itself, if you accept that.",
        )


def get(session: Session, url: str, headers: Mapping[str, str] | None = None, *, follow: bool = True) -> requests.Response:
    """The answer to a GET, whatever it is; its body is still to be read.

    Raises:
        FetchError: if there is none.
    """
    session.follows_redirects = follow  # else requests would look ahead, and read the body for that
    with translated(url):
        return session.get(
            url,
            stream=True,
            timeout=settings.timeouts_s(),
            allow_redirects=follow,
            verify=_certificates()[0],
            # The archive as it is: a proxy that packs it anew would change its hash.
            headers={"Accept-Encoding": "identity", "User-Agent": "tfimm_resolver", **(headers or {})},
        )


def warn_of_unchecked_certificates() -> None:
    """Say in the log that nobody knows who answers, where the user wants it so."""
    if not settings.is_certificate_checked():
        log.warning("certificates are not checked: TFHUB_DISABLE_CERT_VALIDATION is true")


def refuse(reply: requests.Response, asked: str) -> NoReturn:
    """Raise what an answer means that is not the one hoped for, quoting its start; ``asked`` is the handle."""
    start = "nothing that can be read"
    with reply, contextlib.suppress(FetchError), translated(reply.url):
        start = quoted(reply.raw.read(_BODY_START_BYTES, decode_content=True))
    place = without_secrets(reply.url)
    wait_s = _retry_after_s(reply)
    raise _KINDS.get(reply.status_code, FetchError)(
        f"{f'{asked}: ' if place != asked else ''}{place} answered {reply.status_code} {_printable(reply.reason)}: "
        + _without_values(start, reply),
        fix=_FIXES.get(reply.status_code, "The fault is at that place: try again later."),
        is_passing=reply.status_code in _PASSING,
        status=reply.status_code,
        retry_after_s=wait_s,
    )


def without_secrets(url: str) -> str:
    """A URL without userinfo, query and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def content_length(reply: requests.Response) -> int | None:
    """How long the body is said to be."""
    said = reply.headers.get("Content-Length", "")
    return int(said) if re.fullmatch("[0-9]{1,18}", said) else None


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """The one place where errors of the HTTP library become ours."""
    try:
        yield
    except ResolverError:
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        # The library's own texts show the query, which may be a signature.
        raise _translation(error, without_secrets(url)) from (None if "?" in url else error)


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
    if not settings.is_certificate_checked():
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return False, "TFHUB_DISABLE_CERT_VALIDATION"
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if path := os.environ.get(variable):
            return path, f"{variable}={path}"
    return True, f"the bundle of certifi ({certifi.where()})"


def _without_values(text: str, reply: requests.Response) -> str:
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
