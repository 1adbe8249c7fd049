"""Sends HTTP requests: redirects to http and https only, credentials bound to one origin, TLS verification."""

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
from tfimm_resolver.http.errors import choose_ca_bundle, map_http_errors, redact_url, register_credentials

log = logging.getLogger("tfimm_resolver")


class OriginBoundAuth(requests.auth.AuthBase):
    """An Authorization header that is sent to the origin of one URL only, whatever that host redirects to."""

    def __init__(self, url: str, value: str) -> None:
        """``value`` is the value of the header."""
        self._origin, self._value = _get_origin(url), value

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        if _get_origin(prepared.url or "") == self._origin:
            prepared.headers["Authorization"] = self._value
        return prepared


class Session(requests.Session):
    """A requests session with safe redirects and headers per host.

    It follows redirects to http and https only, never from https to http, and sends each host its own headers of hosts.toml.
    """

    def __init__(self, authorization: OriginBoundAuth | None = None) -> None:
        """With ``authorization``, netrc is not read."""
        super().__init__()
        self.auth = self.authorization = authorization
        self.follows_redirects = True

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Add the headers that hosts.toml has for the host of the request."""
        prepared = super().prepare_request(request)
        prepared.headers.update(hosts.get_headers(prepared.url or ""))
        register_credentials(prepared.headers)
        return prepared

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Replace the headers of the previous host by those of the next one in a redirected request."""
        for name in hosts.get_headers(response.request.url or ""):
            prepared_request.headers.pop(name, None)
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
        if self.authorization is not None:  # the call above has just replaced it by that of netrc
            self.authorization(prepared_request)
        prepared_request.headers.update(hosts.get_headers(prepared_request.url or ""))
        register_credentials(prepared_request.headers)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where a response redirects to, if that is to be followed; requests calls this before it reads the body."""
        target = super().get_redirect_target(resp) if self.follows_redirects else None
        if target is not None:
            _discard_body(resp)
            _check_redirect(resp.url, target)
        return target


def _get_origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _discard_body(response: requests.Response) -> None:
    """Close the connection of a response, so that requests does not read its body, of unlimited size, into memory."""
    response.close()
    response._content, response._content_consumed = b"", True  # type: ignore[attr-defined]


def _check_redirect(url: str, target: str) -> None:
    absolute = urljoin(url, target)
    scheme = urlsplit(absolute).scheme.lower()
    if scheme not in ("http", "https"):
        raise FetchError(f"{redact_url(url)} redirects to {redact_url(absolute)!r}, which is not an http or https URL")
    if scheme == "http" and url.lower().startswith("https:"):
        raise FetchError(
            f"{redact_url(url)} redirects from https to {redact_url(absolute)}",
            fix="Anyone on the network path could change the model: use that URL as the handle, if you accept the risk.",
        )


def get(session: Session, url: str, headers: Mapping[str, str] | None = None, *, follow: bool = True) -> requests.Response:
    """Send a GET request and return the response, whatever its status; its body has not been read yet.

    Raises:
        FetchError: if no response arrives.
    """
    session.follows_redirects = follow  # else requests would prepare the next request, and read the body for that
    with map_http_errors(url):
        return session.get(
            url,
            stream=True,
            timeout=settings.timeouts_s(),
            allow_redirects=follow,
            verify=choose_ca_bundle()[0],
            # Not "gzip": a proxy that compresses the archive once more would change its hash.
            headers={"Accept-Encoding": "identity", "User-Agent": "tfimm_resolver", **(headers or {})},
        )


def warn_if_tls_verification_disabled() -> None:
    """Log a warning if the user has disabled the verification of certificates."""
    if not settings.is_tls_verified():
        log.warning("certificates are not checked: TFHUB_DISABLE_CERT_VALIDATION is true")


def get_content_length(response: requests.Response) -> int | None:
    """Return the Content-Length in bytes; None if it is missing or malformed."""
    value = response.headers.get("Content-Length", "")
    return int(value) if re.fullmatch("[0-9]{1,18}", value) else None
