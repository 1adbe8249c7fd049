"""Raises the errors for requests that may not be made at all."""

from __future__ import annotations

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import NotFoundError, OfflineError
from tfimm_resolver.errors.advice import suggest_local_copy
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.http import mirrors


def raise_if_local(handle: Handle, url: str) -> None:
    """Raise NotFoundError for a question to a mirror that is a directory, which can only answer with archives."""
    if mirrors.is_local(url):
        raise NotFoundError(
            f"{handle}: a mirror that is a directory holds only archives",
            fix="Give the URL of an archive, or use a mirror that is a server.",
        )


def raise_if_mirrored_post(handle: Handle, url: str, mirrored: str, post_data: bytes | None) -> None:
    """Raise NotFoundError for a POST to a mirror, which has files and no API."""
    if post_data is not None and mirrored != url:
        raise NotFoundError(
            f"{handle}: a mirror does not answer the calls of an API",
            fix="Remove the mirror for this host, or give the URL of an archive.",
        )


def raise_if_offline(handle: Handle) -> None:
    """Raise OfflineError if the user has forbidden every request."""
    if settings.is_offline():
        root = settings.urls_root().value
        raise OfflineError(
            f"{handle} cannot be downloaded into the cache at {show(root)}: TFIMM_RESOLVER_OFFLINE is set",
            fix=suggest_local_copy("Unset it"),
        )
