"""Paths as users write them: expansion, and object store URLs."""

from __future__ import annotations

import os

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import CacheError, HandleError


def is_bucket(path: str) -> bool:
    """Whether a root is a URL in an object store."""
    return "://" in path


def expand_path(path: str) -> str:
    """Return a path with ``~`` and ``$VAR`` expanded, made absolute; ``file://`` as its path, other URLs unchanged.

    Raises:
        HandleError: if it contains a NUL character.
        CacheError: if it begins with ``~`` and the user has no home directory, if it is relative and the working directory
            was removed, or if it is an object store URL with credentials or without a bucket.
    """
    if "\0" in path:
        raise HandleError(f"the path {path!r} contains a NUL character")
    path = os.path.expandvars(path)
    if path.startswith("file://"):
        from urllib.parse import unquote, urlsplit

        path = unquote(urlsplit(path).path)
    elif "://" in path:
        scheme, _, rest = path.partition("://")
        bucket = rest.partition("/")[0]
        if "@" in bucket or not bucket:
            redacted = f"{scheme}://{bucket.rpartition('@')[2]}"
            raise CacheError(f"{redacted} is not a cache location: it has to be {scheme}://BUCKET/PATH, without credentials")
        return path.rstrip("/")
    home = os.path.expanduser(path)
    if home.startswith("~") and path[1:2] in ("", "/"):
        raise CacheError(
            f"cannot expand {show(path)}: this user has no home directory", fix="Set HOME, TFHUB_CACHE_DIR or TFIMM_HOME."
        )
    try:
        return os.path.abspath(home)
    except FileNotFoundError as error:
        raise CacheError(
            f"{show(path)} is a relative path, and the working directory was removed", fix="Give an absolute path."
        ) from error
