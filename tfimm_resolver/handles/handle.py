"""The parsed form of a handle."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, unquote, urlsplit

from tfimm_resolver._util.outgoing import clean_value, mask_value
from tfimm_resolver._util.urls import (
    STORE_ALIASES,
    TENSORFLOW_SCHEMES,
    find_confusing_character,
    has_signature,
    strip_signature,
)
from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.fragment import FRAGMENT_FORM, split_fragment
from tfimm_resolver.handles.sha256 import parse_sha256

SHORTENED = "?…"
"""The end of a handle whose query is left out, as it may contain a secret."""

ARCHIVE_SUFFIXES = (
    *(".tar", ".tar.gz", ".tgz", ".zip"),
    *(".tar.bz2", ".tbz2", ".tbz", ".tb2", ".tar.xz", ".txz", ".tar.lzma", ".tlz", ".tar.zst", ".tzst"),
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CHARACTERS_MAX = 16_384  # signed URLs have a few thousand
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
_BLANKS = " \t\r\n\v\f\xa0\u2000\u2001\u2002\u2003\u2009\u200a\u200b\u202f\u2060\u3000\ufeff"
"""Blanks, also invisible ones, that copying from a page or a document adds."""
KAGGLE_HOSTS = ("www.kaggle.com", "kaggle.com")
HUGGING_FACE_HOSTS = ("huggingface.co", "hf.co")


@dataclass(frozen=True, slots=True, repr=False)
class Handle:
    """The parsed handle of a model.

    Attributes:
        text: as given, without the fragment: a ``#sha256=`` pin, a ``#subdirectory=``.
        key: identifies the model; spelling variants share it. For a URL it is the text that tensorflow_hub hashes, so that
            both use the same directory name; without the signature of a signed URL.
        scheme: lower case, and that of the store where others use another one for it, as in ``s3a://``; empty for a local
            path or a name.
        host: with port and userinfo; the bucket of a ``gs://`` handle.
        path: a local path as given; the path of a URL without a trailing slash.
        query: without ``tf-hub-format``, which the resolver sets itself.
        sha256: the pin, which the archive's hash must match; None if there is none.
        subdirectory: the directory of the model to use, as given, percent-decoded; empty for no choice. It is not part of the
            key, and not checked; sources ignore it.

    Example:
        >>> from tfimm_resolver.sources import Handle
        >>> handle = Handle.parse("https://Models.example/half_plus_two/1.tar.gz?token=secret")
        >>> handle.scheme, handle.host, handle.path
        ('https', 'models.example', '/half_plus_two/1.tar.gz')
        >>> print(handle)
        https://models.example/half_plus_two/1.tar.gz?…
    """

    text: str
    key: str
    scheme: str
    host: str
    path: str
    query: str = ""
    sha256: str | None = None
    subdirectory: str = ""

    @classmethod
    def parse(cls, text: str | os.PathLike[str], *, sha256: str | None = None) -> Handle:
        """Parse a handle; an explicit ``sha256`` must not contradict the one in a ``#sha256=`` fragment.

        Raises:
            HandleError: if it is empty, not a str or a path, contains control characters, or has a scheme and no host.
        """
        plain = os.fspath(text) if isinstance(text, (str, os.PathLike)) else text
        if not isinstance(plain, str):
            raise HandleError(f"a handle is a str or a path, not {type(text).__name__}: {text!r:.80}")
        handle = _parse(plain if isinstance(text, os.PathLike) else strip_blanks(plain))
        if sha256 is None:
            return handle
        pin = parse_sha256(sha256)
        if handle.sha256 not in (None, pin):
            text = f"{handle} pins another sha256 than requested:\n  pinned     {handle.sha256}\n  requested  {pin}"
            raise HandleError(text, fix="Leave one of them out, or correct it.")
        return replace(handle, sha256=pin)

    def __repr__(self) -> str:
        """Return the handle as messages show it, since a debugger or a log shows this, too."""
        pin = "" if self.sha256 is None else f", sha256={self.sha256!r}"
        directory = f", subdirectory={clean_value(self.subdirectory)!r}" if self.subdirectory else ""
        return f"Handle({clean_value(repr(str(self)))}{pin}{directory})"

    @property
    def is_name(self) -> bool:
        """Whether this is a bare name: no scheme, no path separator."""
        return not self.scheme and "/" not in self.text and os.sep not in self.text and self.text not in (".", "..")

    @property
    def is_archive(self) -> bool:
        """Whether the path has the suffix of an archive."""
        return self.path.lower().endswith(ARCHIVE_SUFFIXES)

    @property
    def redacted(self) -> str:
        """The handle without userinfo and query, which may hold secrets: safe for records, logs and errors."""
        if not self.scheme:
            return self.text
        return f"{self.scheme}://{self.host.rpartition('@')[2]}{self.path}" + (SHORTENED if self.query else "")

    @property
    def as_typed(self) -> Handle:
        """The handle with the slashes at the end of its URL, which are not part of its key, but which a server may need."""
        path = urlsplit(self.text).path if self.scheme else ""
        return replace(self, path=self.path + path[len(path.rstrip("/")) :])

    def url(self, **query: str) -> str:
        """Return the URL to request, with additional query parameters; ``_`` in a name becomes ``-``.

        Nothing is added to a query that holds a signature, which would no longer match.
        """
        query = {} if self.query and has_signature(self.query) else query
        joined = "&".join([self.query, *(f"{name.replace('_', '-')}={value}" for name, value in query.items())])
        return f"{self.scheme}://{self.host}{self.path}" + (f"?{joined.strip('&')}" if joined else "")

    def __str__(self) -> str:
        return self.redacted


def strip_blanks(text: str) -> str:
    """Return a text without what surrounds it after copying and pasting, unless it is the path of something."""
    bare = text.strip(_BLANKS)
    if bare == text or (text.strip() and "\0" not in text and "://" not in text and os.path.lexists(text)):
        return text
    return bare or text


def get_key(text: str) -> str:
    """Return the key that all spellings of a handle share; the text itself if it is not a valid handle."""
    try:
        return Handle.parse(text).key
    except HandleError:
        return text


@functools.lru_cache(maxsize=1024)
def _parse(text: str) -> Handle:
    if len(text) > _CHARACTERS_MAX:
        raise HandleError(
            f"the handle has {len(text)} characters; {_CHARACTERS_MAX} are allowed: {mask_value(text[:80])!r}...",
            fix="Check that it is the handle of one model, and no other text.",
        )
    if found := _CONTROL_CHARACTER.search(text):
        raise HandleError(
            f"the handle {mask_value(text)!r} contains the character {found[0]!r}",
            fix="Remove the character, or percent-encode it if it belongs to the URL.",
        )
    text, pin, subdirectory = split_fragment(text)
    if not text.strip():
        raise HandleError("the handle is empty", fix="Give a URL, a path or a model name.")
    handle = _parse_location(text, pin)
    return replace(handle, subdirectory=subdirectory) if subdirectory else handle


def _parse_location(text: str, pin: str | None) -> Handle:
    """Parse a handle without its fragment."""
    found = _SCHEME.match(text)
    if found is None:
        return Handle(text, text, "", "", text, "", pin)
    if (alias := STORE_ALIASES.get(found[1].lower())) is not None:
        text = f"{alias}{text[found.end(1) :]}"
    try:
        parts = urlsplit(text)
    except ValueError:  # its text and its traceback may quote a password that has a bracket
        raise HandleError(f"{mask_value(text)!r} is not a valid URL: check its host and port, and brackets") from None
    if parts.scheme == "file":
        return _make_file_handle(text, parts.netloc, unquote(parts.path), pin)
    if not text.isascii():
        _check_visible(text)
    if not parts.netloc and not (parts.scheme in TENSORFLOW_SCHEMES and parts.path.strip("/")):
        raise HandleError(f"{mask_value(text)!r} has a scheme but no host", fix=f"Write {parts.scheme}://HOST/PATH.")
    if (found_character := find_confusing_character(parts.netloc)) is not None:
        raise HandleError(
            f"{mask_value(text)!r} has the character {found_character!r} in its host: it is not clear which host is meant",
            fix=f"Write {parts.scheme}://HOST/PATH, with special characters of a user and a password percent-encoded.",
        )
    _check_host(text, parts)
    if parts.fragment:
        raise HandleError(f"{mask_value(text)!r} has a fragment", fix=f"Only this may follow a handle: {FRAGMENT_FORM}.")
    host, path = parts.netloc, parts.path.rstrip("/")
    if parts.scheme in ("http", "https"):  # elsewhere it is a bucket's or an owner's name, which is case-sensitive
        userinfo, at, name = host.rpartition("@")
        host = userinfo + at + name.lower()
    query = "&".join(part for part in parts.query.split("&") if part and not part.startswith("tf-hub-format="))
    rest = "?" + query if query else ""
    if (key := _find_canonical_key(parts.scheme, host, path)) is not None:
        return Handle(text, key, parts.scheme, host, path, "", pin)
    if query and (bare := strip_signature(query)) != query:  # a new signature for the same object is the same model
        rest = "?" + bare if bare else ""
    return Handle(text, f"{parts.scheme}://{host}{path}{rest}", parts.scheme, host, path, query, pin)


def _check_visible(text: str) -> None:
    """Raise HandleError if a URL has an invisible character, or changes the direction of text, by the rule for members.

    The path of a local file may have one, as the file is what its user sees.
    """
    from tfimm_resolver._util.lookalikes import find_unseen  # tables that few handles need

    found = next(filter(None, map(find_unseen, text.split("/"))), None)
    if found is not None:
        import unicodedata

        label = f"U+{ord(found):04X} {unicodedata.name(found, '')}".strip()
        raise HandleError(
            f"the handle {mask_value(text)!r} contains an invisible character: {label}",
            fix="Write the handle without it; it may have been copied from a page or a document.",
        )


def _check_host(text: str, parts: SplitResult) -> None:
    """Raise HandleError if the host is a scheme, or an IPv6 address without brackets, whose port would be a part of it."""
    host = parts.netloc.rpartition("@")[2]
    if host in ("http:", "https:"):
        rest = mask_value(f"{host}{parts.path}")
        raise HandleError(f"{mask_value(text)!r} has two schemes", fix=f"Write {rest}")
    if host.count(":") > 1 and "[" not in host:
        fix = f"Write {parts.scheme}://[ADDRESS]:PORT/PATH."
        raise HandleError(f"{mask_value(text)!r} has an IPv6 address without brackets, or two ports", fix=fix)


def _find_canonical_key(scheme: str, host: str, path: str) -> str | None:
    """Return the key that all spellings of a model share; None for handles with one spelling."""
    if scheme not in ("kaggle", "hf") and host not in (*KAGGLE_HOSTS, *HUGGING_FACE_HOSTS):
        return None
    from tfimm_resolver.handles import canonical  # 1 ms that other handles do not pay

    return canonical.canonical_key(scheme, host, path)


def _make_file_handle(text: str, host: str, path: str, pin: str | None) -> Handle:
    if host not in ("", "localhost") or not path:
        raise HandleError(f"{text!r} does not name a local file", fix="Write file:///ABSOLUTE/PATH.")
    return Handle(text, path, "", "", path, "", pin)
