"""Paths as users write them, and whom a directory belongs to."""

from __future__ import annotations

import os

from tfimm_resolver.errors import CacheError, HandleError


def is_bucket(place: str) -> bool:
    """Whether a root is one of an object store."""
    return "://" in place


def expand_path(place: str) -> str:
    """``~`` and ``$VAR`` expanded and made absolute; an object store's URL as it is, ``file://`` as its path.

    Raises:
        HandleError: if it holds a NUL.
        CacheError: if it begins with ``~`` and there is no home directory.
    """
    if "\0" in place:
        raise HandleError(f"the path {place!r} holds a NUL")
    place = os.path.expandvars(place)
    if place.startswith("file://"):
        from urllib.parse import unquote, urlsplit

        place = unquote(urlsplit(place).path)
    elif "://" in place:
        scheme, _, rest = place.partition("://")
        bucket = rest.partition("/")[0]
        if "@" in bucket or not bucket:
            shown = f"{scheme}://{bucket.rpartition('@')[2]}"
            raise CacheError(f"{shown} is no place for a cache: it has to be {scheme}://BUCKET/PATH, without credentials")
        return place.rstrip("/")
    home = os.path.expanduser(place)
    if home.startswith("~") and place[1:2] in ("", "/"):
        raise CacheError(f"there is no home directory for {place}", fix="Set HOME, TFHUB_CACHE_DIR or TFIMM_HOME.")
    try:
        return os.path.abspath(home)
    except FileNotFoundError as error:
        raise CacheError(f"{place} is relative, and the working directory is gone", fix="Give an absolute path.") from error
