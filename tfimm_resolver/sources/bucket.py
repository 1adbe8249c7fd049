"""Object stores: a ``gs://`` directory is used in place, since TensorFlow reads it there; all else is fetched."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from tfimm_resolver.errors import AccessError, HandleError, NotFoundError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import get_model_directory
from tfimm_resolver.sources.plan import Fetch, InPlace

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.sources.plan import Fetcher

SCHEMES = ("gs", "s3")


def plan(handle: Handle) -> InPlace | Fetch:
    """Return the plan for a ``gs://`` or ``s3://`` handle; the object of a graph stands for its directory."""
    if (directory := get_model_directory(handle.path)) != handle.path:
        text = f"{handle.scheme}://{handle.host}{directory}"
        handle = replace(handle, text=text, key=text, path=directory)
    if handle.scheme == "gs" and not handle.is_archive:
        return InPlace(handle.scheme + handle.text[len(handle.scheme) :])  # TensorFlow does not accept GS://
    if handle.query or "@" in handle.host:
        raise HandleError(f"{handle} has more than a bucket and a path", fix=f"Write {handle.scheme}://BUCKET/PATH.")
    url = f"{handle.scheme}://{handle.host}{handle.path}"
    if not handle.is_archive and handle.sha256 is not None:
        raise HandleError(f"{handle} is a directory: only an archive can be pinned by sha256")

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


def _fill_from_google(handle: Handle, url: str, into: Path, fetcher: Fetcher) -> None:
    """Download without credentials over HTTP, in parallel and resumable; if that is denied, as an object with credentials."""
    # The variable that redirects Google's own clients.
    base = os.environ.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
    base = base if "://" in base else f"http://{base}"
    try:
        fetcher.archive(f"{base.rstrip('/')}/{handle.host}{quote(handle.path)}", into)
    except (AccessError, NotFoundError) as error:  # a private bucket may answer 404 for an object that exists
        from tfimm_resolver.http import mirrors
        from tfimm_resolver.object_store import credentials

        if not mirrors.is_only_direct():  # a mirror may have denied access; it must not be bypassed
            raise
        if not credentials.has_credentials("gs"):
            raise type(error)(error.text, fix=credentials.CREDENTIALS_FIX["gs"], status=error.status) from error
        fetcher.object_archive(url, into)
