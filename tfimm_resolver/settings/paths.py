"""Paths as users write them: expansion, and object store URLs."""

from __future__ import annotations

import os

from tfimm_resolver.errors import CacheError, HandleError


def is_bucket(path: str) -> bool:
    """Whether a root is a URL in an object store."""
    return "://" in path


def check_path(path: str | os.PathLike[str]) -> str:
    """Return a path as a text that the system accepts.

    Raises:
        HandleError: if it is neither a str nor an os.PathLike of one, or has a character that no path can have.
    """
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(text, str):
        raise HandleError(f"a path is a str or an os.PathLike, not {type(path).__name__}: {path!r:.80}")
    if "\0" in text:
        raise HandleError(f"the path {text!r} contains a NUL character")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise HandleError(f"the path {text!r} contains a character that no path can have") from None
    return text


def expand_path(path: str | os.PathLike[str]) -> str:
    """Return a path with ``~`` and ``$VAR`` expanded, made absolute; ``file://`` as its path, other URLs unchanged.

    Raises:
        HandleError: as ``check_path`` does.
        CacheError: if it begins with ``~`` and the user has no home directory, if it is relative and the working directory
            was removed, or if it is an object store URL with credentials or without a bucket.
    """
    path = os.path.expandvars(check_path(path))
    if path.startswith("file://"):
        from urllib.parse import unquote, urlsplit

        path = check_path(unquote(urlsplit(path).path))
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
            f"cannot expand {path}: this user has no home directory", fix="Set HOME, TFHUB_CACHE_DIR or TFIMM_HOME."
        )
    try:
        return os.path.abspath(home)
    except FileNotFoundError as error:
        raise CacheError(
            f"{path} is a relative path, and the working directory was removed", fix="Give an absolute path."
        ) from error
