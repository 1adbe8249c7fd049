"""Sends HTTP requests, as the only module: redirects, credentials per host, proxies, cookies, TLS, deadlines."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urljoin, urlsplit

import urllib3

from tfimm_resolver import settings
from tfimm_resolver._util import clock
from tfimm_resolver._util.urls import find_confusing_character, has_signature
from tfimm_resolver.errors import FetchError, TransferTimeoutError
from tfimm_resolver.http import hosts
from tfimm_resolver.http.authorization import DEFAULT_PORTS, Origin, OriginBoundAuth, get_origin
from tfimm_resolver.http.connections import make_pools, send_target
from tfimm_resolver.http.credentials import Credentials
from tfimm_resolver.http.errors import REDIRECT_FIX, map_http_errors, redact_url
from tfimm_resolver.http.redaction import register_credentials
from tfimm_resolver.http.response import Response, SentRequest
from tfimm_resolver.settings import network

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

    from tfimm_resolver.settings.network import Proxy

log = logging.getLogger("tfimm_resolver")

_REDIRECTS_MAX = 30
_CHAIN_READ_TIMEOUTS = 5
"""How many read timeouts a chain of redirects may take altogether."""

_REFUSED_LOGIN = (400, 401, 403)
_KEEP_METHOD = (307, 308)
"""Redirects that are followed by the same method and body (RFC 9110, 15.4); the others by GET."""


class Session:
    """Keeps connections, cookies, and which origin the handle names itself: that of the first request.

    It follows redirects to http and https only, never from https to http, and never reads their bodies. Each host gets its own
    credentials: those of hosts.toml, else ``authorization``, the URL's userinfo, HF_TOKEN's or netrc's.
    """

    def __init__(self, authorization: OriginBoundAuth | None = None) -> None:
        self._authorization = authorization
        self._own_url: str | None = None
        self._rejected: set[Origin] = set()
        self._pools: dict[tuple[Proxy | None, bool], urllib3.PoolManager] = {}
        self._cookies: CookieJar | None = None

    def fork(self) -> Session:
        """Return a session with connections of its own and the same credentials, for another thread."""
        other = Session(self._authorization)
        other._own_url, other._rejected = self._own_url, self._rejected
        return other

    def close(self) -> None:
        """Close all connections that are not in use."""
        for pools in self._pools.values():
            pools.clear()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, url: str, headers: Mapping[str, str], *, follow: bool) -> Response:
        """Send a GET request; see the function ``get``."""
        history: tuple[SentRequest, ...] = ()
        data = self._authorization.get_post_data(url) if self._authorization else None
        until_s = clock.get_monotonic_s() + _CHAIN_READ_TIMEOUTS * settings.timeouts_s()[1]
        while True:
            _check_authority(url, history[0].url if history else url)
            self._own_url = self._own_url or url
            response = self._send_with_credentials(url, headers, history, until_s, data)
            target = response.redirect_target if follow else None
            if target is None:
                return response
            response.raw.close()  # its body, of any size, is never read
            self._store_cookies(response)
            history = (*history, response.request)
            if len(history) > _REDIRECTS_MAX:
                raise FetchError(
                    f"{redact_url(history[0].url)} redirects more than {_REDIRECTS_MAX} times",
                    fix=REDIRECT_FIX,
                )
            url = _join_redirect(url, target)
            data = data if response.status_code in _KEEP_METHOD else None

    def _send_with_credentials(
        self, url: str, headers: Mapping[str, str], history: tuple[SentRequest, ...], until_s: float, data: bytes | None
    ) -> Response:
        """Send one request; once more without the login of netrc or of HF_TOKEN, if the host refuses it."""
        is_rejected = get_origin(url) in self._rejected
        login = None if is_rejected else self._find_login(url)
        response = self._send(url, headers, history, until_s, data, login)
        if login is None or response.request.credentials_source != login.source:
            return response
        if response.status_code not in _REFUSED_LOGIN:
            return response
        response.raw.close()
        self._rejected.add(get_origin(url))
        log.info("%s refuses the login of %s; trying without it", redact_url(url), login.source)
        return self._send(url, headers, history, until_s, data, None, rejected_source=login.source)

    def _send(
        self,
        url: str,
        headers: Mapping[str, str],
        history: tuple[SentRequest, ...],
        until_s: float,
        data: bytes | None,
        login: Credentials | None,
        *,
        rejected_source: str = "",
    ) -> Response:
        own_headers, source = self._choose_headers(url, login)
        # Not "gzip": a proxy that compresses the archive once more would change its hash.
        fixed = {"Accept-Encoding": "identity", "User-Agent": "tfimm_resolver"}
        fixed |= {"Content-Type": "application/json"} if data is not None else {}
        sent = _merge_headers(fixed, headers, own_headers)
        register_credentials(sent)
        connect_s, read_s = settings.timeouts_s()
        left_s = until_s - clock.get_monotonic_s()
        if left_s <= 0:
            raise TransferTimeoutError(
                f"{redact_url(url)} and what redirected to it took too long",
                fix="Try again later, or give the URL that it redirects to.",
                is_passing=True,
            )
        proxy = network.choose_proxy(url)
        is_forwarded = proxy is not None and not proxy.is_socks and url.startswith("http:")
        with map_http_errors(url, proxy):
            bare_url, target = _split_target(url, is_absolute=is_forwarded)
        with map_http_errors(url, proxy), send_target(target):
            raw = self._get_pools(url, proxy).urlopen(
                "GET" if data is None else "POST",
                bare_url,
                body=data,
                headers=sent,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=connect_s, read=min(read_s, left_s)),
            )
        log.debug("%s %s: %d", "GET" if data is None else "POST", redact_url(url), raw.status)
        where = f"{proxy.url} of {proxy.variable}" if proxy is not None and is_forwarded else ""
        return Response(SentRequest(url, sent, source), history, raw, rejected_source, where)

    def _choose_headers(self, url: str, login: Credentials | None) -> tuple[dict[str, str], str]:
        """Return the headers for the host of ``url`` alone, and where its credentials are from."""
        is_signed, is_own = has_signature(urlsplit(url).query), self._is_own(url)
        headers = hosts.get_headers(url, is_own=is_own)
        self._add_cookies(url, headers)
        if is_signed:  # two kinds of authentication at once are refused by storage services
            return {name: value for name, value in headers.items() if name.lower() != "authorization"}, ""
        if any(name.lower() == "authorization" for name in headers):
            return headers, settings.hosts_file()[0]
        if self._authorization is not None and (value := self._authorization.get_value(url)) is not None:
            return {**headers, "Authorization": value}, ""
        if self._authorization is None and is_own and (found := _read_userinfo(self._own_url or "")):
            login = found
        if login is not None and self._authorization is None:
            return {**headers, "Authorization": login.authorization}, login.source
        return headers, ""

    def _find_login(self, url: str) -> Credentials | None:
        if self._authorization is not None:
            return None
        from tfimm_resolver.http import hugging_face_token, netrc

        token = hugging_face_token.find_token(url, self._own_url or url)
        return token or netrc.find_login(url, is_own=self._is_own(url))

    def _is_own(self, url: str) -> bool:
        return self._own_url is not None and get_origin(url) == get_origin(self._own_url)

    def _get_pools(self, url: str, proxy: Proxy | None) -> urllib3.PoolManager:
        key = proxy, url.startswith("https:")
        if key not in self._pools:
            self._pools[key] = make_pools(proxy, is_tls=key[1])
        return self._pools[key]

    def _store_cookies(self, response: Response) -> None:
        """Store what a redirect sets: some hosts log in by a cookie and a redirect."""
        if "Set-Cookie" in response.headers:
            from http.cookiejar import CookieJar
            from urllib.request import Request

            self._cookies = self._cookies or CookieJar()
            self._cookies.extract_cookies(response.raw, Request(response.url))  # type: ignore[arg-type]

    def _add_cookies(self, url: str, headers: dict[str, str]) -> None:
        if self._cookies is not None and not any(name.lower() == "cookie" for name in headers):
            from urllib.request import Request

            request = Request(url)
            self._cookies.add_cookie_header(request)
            headers.update({"Cookie": value} if (value := request.get_header("Cookie")) else {})


def get(session: Session, url: str, headers: Mapping[str, str] | None = None, *, follow: bool = True) -> Response:
    """Send a GET request and return the response, whatever its status; its body has not been read yet.

    Raises:
        FetchError: if no response arrives.
    """
    return session.get(url, headers or {}, follow=follow)


def warn_if_tls_verification_disabled() -> None:
    """Log a warning if the user has disabled the verification of certificates."""
    if not settings.is_tls_verified():
        log.warning("certificates are not checked: TFHUB_DISABLE_CERT_VALIDATION is true")


def _join_redirect(url: str, target: str) -> str:
    """Return the absolute URL of a redirect.

    Raises:
        FetchError: if it must not be followed.
    """
    source_url = redact_url(url)
    try:
        absolute = urljoin(url, target)
        scheme = urlsplit(absolute).scheme.lower()
    except ValueError:
        raise FetchError(
            f"{source_url} is not a valid http or https URL, or redirects to one that is not",
            fix=REDIRECT_FIX,
        ) from None
    if any(not character.isprintable() for character in target):
        raise FetchError(
            f"{source_url} redirects to a URL with control characters",
            fix=REDIRECT_FIX,
        )
    if scheme not in DEFAULT_PORTS:
        raise FetchError(
            f"{source_url} redirects to {redact_url(absolute)!r}, which is not an http or https URL",
            fix=REDIRECT_FIX,
        )
    if scheme == "http" and url.lower().startswith("https:"):
        raise FetchError(
            f"{source_url} redirects from https to {redact_url(absolute)}",
            fix="Anyone on the network path could change the model: use that URL as the handle, if you accept the risk.",
        )
    return scheme + absolute[len(scheme) :]  # a URL with HTTPS:// stays as it is in urljoin


def _check_authority(url: str, source_url: str) -> None:
    """Raise FetchError unless everyone who reads the URL, the HTTP library included, reads the same host."""
    with map_http_errors(source_url):
        parts = urlsplit(url)
        found, read = (parts.hostname or "").strip("[]"), urllib3.util.parse_url(url).host
        is_same = read is not None and (read.strip("[]").lower() == found.lower() or not found.isascii())
        if parts.port == 0 or find_confusing_character(parts.netloc) or not is_same:
            raise ValueError


def _merge_headers(*parts: Mapping[str, str]) -> dict[str, str]:
    """Return all headers; later ones replace earlier ones of the same name, in any case."""
    merged = {name.lower(): (name, value) for part in parts for name, value in part.items()}
    return dict(merged.values())


def _split_target(url: str, *, is_absolute: bool) -> tuple[str, str]:
    """Return the URL for the HTTP library, and what to send in the request's first line; empty: what the library sends.

    A URL with a signature is sent as it is, and the library does not get its query. ``is_absolute``: send the host, too.
    """
    parts = urlsplit(url)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")
    if not has_signature(plain.query):
        return plain.geturl(), ""
    bare_url = plain._replace(query="").geturl()
    host = urllib3.util.parse_url(bare_url).netloc or ""
    prefix = f"{plain.scheme}://{host}" if is_absolute else ""
    target = f"{prefix}{plain.path or '/'}?{plain.query}"
    return bare_url, re.sub("[^!-~]+", lambda match: quote(match[0]), target)


def _read_userinfo(url: str) -> Credentials | None:
    parts = urlsplit(url)
    if not parts.username and not parts.password:
        return None
    return Credentials.basic("the URL", unquote(parts.username or ""), unquote(parts.password or ""))
