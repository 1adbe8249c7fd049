"""One request over HTTP: sent, answered or refused, and its errors in the words of this package."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

import requests
import requests.auth

from tfimm_resolver import settings
from tfimm_resolver.errors import FetchError
from tfimm_resolver.http import hosts
from tfimm_resolver.http.errors import _certificates, map_http_errors, redact_url

log = logging.getLogger("tfimm_resolver")


class OriginBoundAuth(requests.auth.AuthBase):
    """Who asks, told to the host of one URL and to no other, whatever that host redirects to."""

    def __init__(self, url: str, value: str) -> None:
        """``value`` is that of the header."""
        self._origin, self._value = _origin(url), value

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        if _origin(prepared.url or "") == self._origin:
            prepared.headers["OriginBoundAuth"] = self._value
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

    def __init__(self, authorization: OriginBoundAuth | None = None) -> None:
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
    address, place = urljoin(url, target), redact_url(url)
    scheme = urlsplit(address).scheme.lower()
    if scheme not in ("http", "https"):
        raise FetchError(f"{place} redirects to {redact_url(address)!r}, which is no http or https address")
    if scheme == "http" and url.lower().startswith("https:"):
        raise FetchError(
            f"{place} redirects from https to {redact_url(address)}",
            fix="Anybody on the way could change the model there: ask for that URL itself, if you accept that.",
        )


def get(session: Session, url: str, headers: Mapping[str, str] | None = None, *, follow: bool = True) -> requests.Response:
    """The answer to a GET, whatever it is; its body is still to be read.

    Raises:
        FetchError: if there is none.
    """
    session.follows_redirects = follow  # else requests would look ahead, and read the body for that
    with map_http_errors(url):
        return session.get(
            url,
            stream=True,
            timeout=settings.timeouts_s(),
            allow_redirects=follow,
            verify=_certificates()[0],
            # The archive as it is: a proxy that packs it anew would change its hash.
            headers={"Accept-Encoding": "identity", "User-Agent": "tfimm_resolver", **(headers or {})},
        )


def warn_if_tls_verification_disabled() -> None:
    """Say in the log that nobody knows who answers, where the user wants it so."""
    if not settings.is_tls_verified():
        log.warning("certificates are not checked: TFHUB_DISABLE_CERT_VALIDATION is true")


def content_length(reply: requests.Response) -> int | None:
    """How long the body is said to be."""
    said = reply.headers.get("Content-Length", "")
    return int(said) if re.fullmatch("[0-9]{1,18}", said) else None
