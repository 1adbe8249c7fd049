"""Object stores: a ``gs://`` directory is used in place, since TensorFlow reads it there; all else is fetched."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from tfimm_resolver._util.urls import STORE_HOST_ENDS
from tfimm_resolver.errors import AccessError, FetchError, HandleError, NotFoundError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import get_model_directory
from tfimm_resolver.sources.plan import Fetch, InPlace

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.sources.plan import Fetcher

SCHEMES = ("gs", "s3")


def plan(handle: Handle) -> InPlace | Fetch:
    """Return the plan for a ``gs://`` or ``s3://`` handle; the object of a graph stands for its directory."""
    if handle.host.lower().endswith(STORE_HOST_ENDS):
        _check_no_host(handle)
    if (directory := get_model_directory(handle.path)) != handle.path:
        text = f"{handle.scheme}://{handle.host}{directory}"
        handle = replace(handle, text=text, key=text, path=directory)
    if handle.scheme == "gs" and not handle.is_archive:
        return InPlace(handle.scheme + handle.text[len(handle.scheme) :])  # TensorFlow does not accept GS://
    if handle.query or "@" in handle.host:
        raise HandleError(f"{handle} has more than a bucket and a path", fix=f"Write {handle.scheme}://BUCKET/PATH.")
    url = f"{handle.scheme}://{handle.host}{handle.path}"
    if not handle.is_archive and handle.sha256 is not None:
        raise HandleError(
            f"{handle} is a directory: only an archive can be pinned by sha256",
            fix="Leave the sha256 out, or pack the directory as an archive.",
        )

    def fill(into: Path, fetcher: Fetcher) -> None:
        from tfimm_resolver.http import mirrors

        if handle.scheme == "gs":
            return _fill_from_google(handle, url, into, fetcher)
        mirrors.require_direct(str(handle))
        if not handle.is_archive:
            fetcher.objects(url, into)
        else:
            fetcher.object_archive(url, into)

    return Fetch(handle.key, fill)


def _check_no_host(handle: Handle) -> None:
    """Raise HandleError if the handle has the store's host where the bucket belongs."""
    from tfimm_resolver.handles import buckets  # patterns that few handles need

    if not buckets.is_store_host(handle.host):
        return
    meant = buckets.find_bucket_handle(f"{handle.host}{handle.path}") or f"{handle.scheme}://BUCKET/PATH"
    raise HandleError(f"{handle} has the name of a host where that of a bucket belongs", fix=f"Write {meant}")


def _fill_from_google(handle: Handle, url: str, into: Path, fetcher: Fetcher) -> None:
    """Download without credentials over HTTP, in parallel and resumable; if that is denied, as an object with credentials."""
    # The variable that redirects Google's own clients.
    base = os.environ.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
    base = base if "://" in base else f"http://{base}"
    public_url = f"{base.rstrip('/')}/{handle.host}{quote(handle.path)}"
    try:
        fetcher.archive(public_url, into)
    except FetchError as error:
        from tfimm_resolver.http import mirrors
        from tfimm_resolver.object_store import billing, credentials

        is_billed = error.status in (400, 403) and billing.is_project_missing(error.text)
        is_denied = isinstance(error, (AccessError, NotFoundError))  # a private bucket may answer 404 for what exists
        if not (is_billed or is_denied) or not mirrors.is_only_direct():  # a mirror that denied access is not bypassed
            raise
        if is_billed and not billing.send_project(handle.host):
            raise type(error)(error.text, fix=billing.GOOGLE_FIX, status=error.status) from error
        if credentials.has_credentials("gs"):
            fetcher.object_archive(url, into)
        elif is_billed:
            fetcher.archive(f"{public_url}?userProject={quote(billing.find_project(), safe='')}", into)
        else:
            raise type(error)(error.text, fix=credentials.CREDENTIALS_FIX["gs"], status=error.status) from error
