"""TF Hub's protocol: a model's page, asked for a format, is the model; tfhub.dev speaks it, and others do."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver.errors import FetchError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources.plan import Fetch, RemoteLocation

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.sources.plan import Fetcher

log = logging.getLogger("tfimm_resolver")

SCHEMES = ("http", "https")


def plan(handle: Handle) -> Fetch | RemoteLocation:
    """What is done with any URL that is no archive by name."""

    def fill(into: Path, fetcher: Fetcher) -> None:
        fetcher.archive(_compressed(handle), into)

    fetch = Fetch(handle.key, fill)
    if settings.load_format() != "UNCOMPRESSED":
        return fetch
    return uncompressed(handle, handle.url(tf_hub_format="uncompressed"), fetch)


def uncompressed(handle: Handle, url: str, otherwise: Fetch) -> RemoteLocation:
    """What is done where a model is to be read uncompressed, and ``url`` asks for the place."""

    def where(fetcher: Fetcher) -> str | None:
        """A 303 whose body is a ``gs://`` path (https://www.tensorflow.org/hub/hosting); else a warning."""
        try:
            place = fetcher.see_other(url) or ""
        except FetchError as error:
            place, reason = "", error.text
        else:
            reason = "there was no answer 303 that names a gs:// path"
        if place.startswith("gs://") and len(place.split()) == 1:
            return place
        log.warning("%s cannot be read uncompressed (%s); it is downloaded", handle, reason)
        return None

    return RemoteLocation(where, otherwise)


def _compressed(handle: Handle) -> str:
    """Where the archive is: in China, tensorflow_hub 0.16.1 takes it from a bucket there, past the page."""
    if handle.scheme == "https" and handle.host == "hub.tensorflow.google.cn":
        return f"https://gcs.tensorflow.google.cn/tfhub-modules{handle.path}.tar.gz"
    return handle.url(tf_hub_format="compressed")
