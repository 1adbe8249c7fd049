"""The beginning of handles, by which a user sets rules for all models of a host, an owner or a directory."""

from __future__ import annotations

import contextlib
import os

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import CacheError, HandleError
from tfimm_resolver.handles.buckets import find_bucket_handle
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.settings.paths import expand_path
from tfimm_resolver.trust.canonical_urls import URL, canonicalize_url, list_repository_forms, simplify_url

_FIX = "Write it as https://HOST/ or https://HOST/PATH, in another scheme of handles, or as an absolute path."


def parse_prefix(text: object) -> str:
    """Return the canonical form of a prefix, for ``matches_prefix``.

    Raises:
        HandleError: if it is not the beginning of URLs that ends after the host or later, or an absolute path.
    """
    if not isinstance(text, str) or not text or text != text.strip():
        raise HandleError(f"the prefix {text!r:.80} is not the beginning of handles", fix=_FIX)
    found = URL.fullmatch(text)
    if found and (not found[2] or "?" in text or "#" in text or "@" in found[2] or "/" not in found[3]):
        raise HandleError(f"the prefix {show(text)} has to be SCHEME://HOST/, or longer, without a user and a query", fix=_FIX)
    if not found and not os.path.isabs(os.path.expanduser(text)):
        raise HandleError(f"the prefix {show(text)} is neither a URL nor an absolute path", fix=_FIX)
    if not found:
        return _expand(text).rstrip("/") + "/" * text.endswith("/")  # of "/" only one slash
    bucket = find_bucket_handle(url := canonicalize_url(text))
    return f"{bucket}{'/' * url.endswith('/')}" if bucket else url


def matches_prefix(handle: Handle, prefix: str) -> bool:
    """Whether a handle, in any of its forms, begins with a prefix in canonical form."""
    return any(form.startswith(prefix) for form in list_prefix_forms(handle))


def list_prefix_forms(handle: Handle) -> set[str]:
    """Return the canonical forms of a handle with which a prefix is compared: also those without a revision."""
    found = list_forms(handle)
    return found.union(*map(list_repository_forms, found))


def list_forms(handle: Handle) -> set[str]:
    """Return the canonical forms of a handle: of its text and of its key; of a path also where its links lead."""
    if not handle.scheme:
        path = _expand(handle.path)
        return {path, os.path.realpath(path), f"{path}/", f"{os.path.realpath(path)}/"}
    texts = [text for text in (handle.text, handle.key) if "://" in text]
    found = {form for text in texts for form in (simplify_url(text), canonicalize_url(text))}
    found |= {canonicalize_url(bucket) for text in tuple(found) if (bucket := find_bucket_handle(text))}
    return found | {f"{text}/" for text in found}


def _expand(path: str) -> str:
    with contextlib.suppress(CacheError):  # no home directory, or no working directory
        path = expand_path(path)
    return f"/{path.lstrip('/')}" if path.startswith("//") else path  # POSIX lets two slashes at the start stay
