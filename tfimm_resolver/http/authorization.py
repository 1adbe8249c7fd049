"""What is sent to one origin, or to one URL, only: an Authorization header, and the body of a POST."""

from __future__ import annotations

from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, "str | None", "int | None"]


class OriginBoundAuth:
    """An Authorization header that is sent to the origin of one URL only, whatever that host redirects to."""

    def __init__(self, url: str, value: str) -> None:
        """``value`` is the value of the header."""
        self._origin, self._value = get_origin(url), value

    def get_value(self, url: str) -> str | None:
        """Return the value for a request to ``url``; None if that has another origin."""
        return self._value if self._value and get_origin(url) == self._origin else None

    def get_post_data(self, url: str) -> bytes | None:
        """Return the body to post to ``url``; None for a GET request."""
        return None


class PostRequest(OriginBoundAuth):
    """A JSON body that is posted to one URL, with an Authorization header unless ``value`` is empty."""

    def __init__(self, url: str, value: str, data: bytes) -> None:
        super().__init__(url, value)
        self._url, self._data = url, data

    def get_post_data(self, url: str) -> bytes | None:
        return self._data if url == self._url else None


def make_auth(url: str, value: str, post_data: bytes | None = None) -> OriginBoundAuth | None:
    """Return what is sent to ``url`` besides the usual headers; None if that is nothing."""
    if post_data is not None:
        return PostRequest(url, value, post_data)
    return OriginBoundAuth(url, value) if value else None


def get_origin(url: str) -> Origin:
    """Return scheme, host and port of a URL."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
