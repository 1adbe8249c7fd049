"""The beginning of handles, by which a user sets rules for all models of a host, an owner or a directory."""

from __future__ import annotations

import contextlib
import os
import re
from urllib.parse import unquote

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import CacheError, HandleError
from tfimm_resolver.handles.buckets import find_bucket_handle
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.handles.kaggle import KAGGLE_PAGES
from tfimm_resolver.settings.paths import expand_path

_FIX = "Write it as https://HOST/ or https://HOST/PATH, in another scheme of handles, or as an absolute path."
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_PORTS = {"https": (":443", ":80"), "http": (":443", ":80")}
_REWRITTEN = (
    ("kaggle://", f"{KAGGLE_PAGES}/"),
    ("https://kaggle.com/models/", f"{KAGGLE_PAGES}/"),
    ("https://www.kaggle.com/api/v1/models/", f"{KAGGLE_PAGES}/"),
    ("https://huggingface.co/", "hf://"),
    ("https://hf.co/", "hf://"),
)
"""Spellings of hosts that have handles of their own, each with the one that counts."""


def parse_prefix(text: object) -> str:
    """Return the canonical form of a prefix, for ``matches_prefix``.

    Raises:
        HandleError: if it is not the beginning of URLs that ends after the host or later, or an absolute path.
    """
    if not isinstance(text, str) or not text or text != text.strip():
        raise HandleError(f"the prefix {text!r:.80} is not the beginning of handles", fix=_FIX)
    found = _URL.fullmatch(text)
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
    return any(form.startswith(prefix) for form in list_forms(handle))


def list_forms(handle: Handle) -> set[str]:
    """Return the canonical forms of a handle: of its text and of its key; of a path also where its links lead."""
    if not handle.scheme:
        path = _expand(handle.path)
        return {path, os.path.realpath(path), f"{path}/", f"{os.path.realpath(path)}/"}
    found = {canonicalize_url(text) for text in (handle.text, handle.key) if "://" in text}
    found |= {canonicalize_url(bucket) for text in tuple(found) if (bucket := find_bucket_handle(text))}
    return found | {f"{text}/" for text in found}


def canonicalize_url(text: str) -> str:
    """Return one spelling for all URLs that mean the same, as far as a URL shows that.

    The scheme http counts as https. The case of a host, a user, a default port, a query, escapes, empty components and dots
    make no difference.
    """
    found = _URL.match(text)
    assert found is not None
    scheme, host, rest = found[1].lower(), found[2].rpartition("@")[2], re.split(r"[?#]", found[3], maxsplit=1)[0]
    if scheme in _PORTS:
        host = host.lower()
        for port in _PORTS[scheme]:
            host = host.removesuffix(port)
        scheme, host = "https", host.rstrip(".")
    url = f"{scheme}://{host}{_simplify(rest)}"
    for begin, canonical in _REWRITTEN:
        if url.startswith(begin):
            return canonical + url.removeprefix(begin)
    return url


def _simplify(path: str) -> str:
    """Return a path, percent-decoded, without empty components and dots."""
    for _ in range(3):
        path = unquote(path)
    parts: list[str] = []
    for part in path.split("/")[1:]:
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "".join(f"/{part}" for part in parts) + "/" * path.endswith(("/", "/.", "/.."))


def _expand(path: str) -> str:
    with contextlib.suppress(CacheError):  # no home directory, or no working directory
        path = expand_path(path)
    return f"/{path.lstrip('/')}" if path.startswith("//") else path  # POSIX lets two slashes at the start stay
