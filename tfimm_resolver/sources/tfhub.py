"""TF Hub's protocol, of tfhub.dev and other hosts: a model's page, requested with a format parameter, returns the model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver._util.urls import has_signature
from tfimm_resolver.errors import FetchError, NotFoundError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources.bucket_urls import suggest_bucket_handle
from tfimm_resolver.sources.plan import Fetch, RemoteLocation

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.sources.plan import Fetcher

log = logging.getLogger("tfimm_resolver")

SCHEMES = ("http", "https")


def plan(handle: Handle) -> Fetch | RemoteLocation:
    """Return the plan for a URL that does not end like an archive."""

    def fill(into: Path, fetcher: Fetcher) -> None:
        from tfimm_resolver.sources import graph_urls

        with suggest_bucket_handle(handle), graph_urls.explain_errors(handle):
            _fetch_archive(handle, into, fetcher)

    fetch = Fetch(handle.key, fill)
    if has_signature(handle.query) or settings.load_format() != "UNCOMPRESSED":
        return fetch
    return plan_uncompressed(handle, handle.as_typed.url(tf_hub_format="uncompressed"), fetch)


def plan_uncompressed(handle: Handle, url: str, otherwise: Fetch) -> RemoteLocation:
    """Return the plan to read a model uncompressed from the location that a request for ``url`` returns."""

    def where(fetcher: Fetcher) -> str | None:
        """Return the ``gs://`` path in the body of a 303 (https://www.tensorflow.org/hub/hosting); warn if there is none."""
        try:
            location = fetcher.get_redirect_target(url) or ""
        except FetchError as error:
            location, reason = "", error.text
        else:
            reason = "the server did not answer with status 303 and a gs:// path"
        if location.startswith("gs://") and len(location.split()) == 1:
            return location
        log.warning("%s cannot be read uncompressed (%s): downloading it", handle, reason)
        return None

    return RemoteLocation(where, otherwise)


def _fetch_archive(handle: Handle, into: Path, fetcher: Fetcher) -> None:
    """Fetch the archive from the URL as it was typed, as tensorflow_hub does; if that is missing, without a final slash."""
    typed, url = _make_archive_url(handle.as_typed), _make_archive_url(handle)
    if typed != url:
        try:
            return fetcher.archive(typed, into)
        except NotFoundError:
            pass
    return fetcher.archive(url, into)


def _make_archive_url(handle: Handle) -> str:
    """Return the archive's URL; for the host in China that is a bucket there, as in tensorflow_hub 0.16.1, not the page."""
    if handle.scheme == "https" and handle.host == "hub.tensorflow.google.cn":
        return f"https://gcs.tensorflow.google.cn/tfhub-modules{handle.path}.tar.gz"
    return handle.url(tf_hub_format="compressed")
