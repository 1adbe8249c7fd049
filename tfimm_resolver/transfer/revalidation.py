"""Asks a server whether a body has changed since it was recorded, so that one that has not is not sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tfimm_resolver._util.urls import has_signature
from tfimm_resolver.manifest import Origin

if TYPE_CHECKING:
    from tfimm_resolver.http.response import Response


class NotModifiedError(Exception):
    """The body upstream is the one that is known; ``origin`` says what is known of it."""

    def __init__(self, origin: Origin) -> None:
        super().__init__(origin.url)
        self.origin = origin


def make_conditions(known: Origin | None) -> dict[str, str]:
    """Return the headers that ask for a body only if it has changed (RFC 9110, 13.1)."""
    if known is None or not known.url:
        return {}
    if known.etag:
        return {} if known.etag.startswith("W/") else {"If-None-Match": known.etag}
    return {"If-Modified-Since": known.modified} if known.modified else {}


def raise_if_unchanged(response: Response, known: Origin | None) -> None:
    """Raise NotModifiedError if a response shows that the body is the one that is known.

    It does so by status 304, or, if the server ignores conditions, by the same strong ETag and size. Both count at the same
    URL only, since ETags of different URLs may be equal. At any URL the stated sha256 of the complete body counts.
    """
    if known is None:
        return
    is_same_url = _is_same_url(response, known)
    etag, size_bytes = response.headers.get("ETag", ""), get_total_size(response)
    is_same_etag = bool(etag) and etag == known.etag and not etag.startswith("W/")
    is_unchanged = is_same_url and (response.status_code == 304 or (is_same_etag and size_bytes == known.size_bytes))
    if not is_unchanged and size_bytes is not None and known.size_bytes in (None, size_bytes):
        is_unchanged = bool(known.sha256) and _get_stated_sha256(response) == known.sha256
    if is_unchanged:
        response.close()
        raise NotModifiedError(known._replace(size_bytes=size_bytes if known.size_bytes is None else known.size_bytes))


def may_be_older(response: Response, known: Origin) -> bool:
    """Whether a 304 may also mean that the file was replaced by an older one: many servers only ask whether it is newer.

    A response that states the known date excludes that.
    """
    return response.status_code == 304 and not known.etag and response.headers.get("Last-Modified") != known.modified


def raise_if_same_date(response: Response, known: Origin) -> None:
    """Close a response of which only the head is needed; raise NotModifiedError if it has the known date and size."""
    with response:
        is_known_body = response.status_code in (200, 206) and _is_same_url(response, known)
        is_same_date = response.headers.get("Last-Modified") == known.modified
        if is_known_body and is_same_date and get_total_size(response) == known.size_bytes:
            raise NotModifiedError(known)


def _is_same_url(response: Response, known: Origin) -> bool:
    from tfimm_resolver.http.errors import redact_url

    return bool(known.url) and redact_url(response.url) == known.url and not _may_have_other_query(response)


def _may_have_other_query(response: Response) -> bool:
    """Whether a redirect may have led to another query than the recorded URL had, which is kept without it.

    The handle's own query is part of its key; one with a signature is that of a store, whose ETags differ by content.
    """
    query = urlsplit(response.url).query
    return bool(query and response.history) and not has_signature(query) and query != urlsplit(response.history[0].url).query


def get_total_size(response: Response) -> int | None:
    """Return the size of the complete body in bytes, of which a response may hold a range; None if it is not stated."""
    from tfimm_resolver.http.range_headers import parse_content_range
    from tfimm_resolver.http.response import get_content_length

    if response.status_code == 206:
        received = parse_content_range(response)
        return received.size_bytes if received else None
    return get_content_length(response) if response.status_code == 200 else None


def _get_stated_sha256(response: Response) -> str:
    from tfimm_resolver.http.digest_headers import ServerDigests

    if response.headers.get("Content-Encoding", "identity") != "identity":
        return ""  # the digest may be that of the encoded body
    return ServerDigests(response.headers, is_complete=response.status_code == 200).sha256
