"""A handle, read once at the door."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from tfimm_resolver.errors import HandleError

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

KAGGLE_HOSTS = ("www.kaggle.com", "kaggle.com")
HUGGING_FACE_HOSTS = ("huggingface.co", "hf.co")


@dataclass(frozen=True, slots=True)
class Handle:
    """Where a model is to come from, in parts.

    Attributes:
        text: as it was given, without a ``#sha256=`` pin.
        key: the text that identifies the model: spelling variants share it. For URLs it is what
            tensorflow_hub would have been given, since both hash it to the same directory name.
        scheme: lower case; empty for a local path or a name.
        host: with port and userinfo; the bucket of a ``gs://`` handle.
        path: local paths as given; of URLs without a trailing slash.
        query: without ``tf-hub-format``, which is ours to set.
        sha256: what the archive must hash to, if it was said.
    """

    text: str
    key: str
    scheme: str
    host: str
    path: str
    query: str = ""
    sha256: str | None = None

    @classmethod
    def parse(cls, text: str | os.PathLike[str], *, sha256: str | None = None) -> Handle:
        """Read a handle; an explicit ``sha256`` must not contradict the one in a ``#sha256=`` fragment.

        Raises:
            HandleError: if it is empty, bytes, holds control characters, or names a scheme without a place.
        """
        plain = os.fspath(text) if isinstance(text, (str, os.PathLike)) else text
        if not isinstance(plain, str):
            raise HandleError(f"a handle is a str or a path, not {type(text).__name__}: {text!r:.80}")
        handle = _parse(plain)
        if sha256 is None:
            return handle
        pin = _checked_pin(sha256)
        if handle.sha256 not in (None, pin):
            raise HandleError(f"{handle} pins another sha256 than was asked for:\n  pinned {handle.sha256}\n  asked  {pin}")
        return replace(handle, sha256=pin)

    @property
    def is_name(self) -> bool:
        """A bare word: no scheme, no separator."""
        return not self.scheme and "/" not in self.text and os.sep not in self.text and self.text not in (".", "..")

    @property
    def is_archive(self) -> bool:
        """Whether the path ends like an archive."""
        return self.path.lower().endswith(ARCHIVE_SUFFIXES)

    @property
    def public(self) -> str:
        """The handle without userinfo and query, which may hold secrets: fit for records, logs and errors."""
        if not self.scheme:
            return self.text
        return f"{self.scheme}://{self.host.rpartition('@')[2]}{self.path}" + ("?…" if self.query else "")

    def url(self, **query: str) -> str:
        """The URL to ask, with more query parameters."""
        more = "&".join([self.query, *(f"{name.replace('_', '-')}={value}" for name, value in query.items())])
        return f"{self.scheme}://{self.host}{self.path}" + (f"?{more.strip('&')}" if more else "")

    def __str__(self) -> str:
        return self.public


@functools.lru_cache(maxsize=1024)
def _parse(text: str) -> Handle:
    if not text.strip():
        raise HandleError("the handle is empty", fix="Give a URL, a path or a model name.")
    if found := _CONTROL.search(text):
        raise HandleError(f"the handle {_masked(text)!r} holds the character {found[0]!r}")
    text, pin = _without_pin(text)
    if _SCHEME.match(text) is None:
        return Handle(text, text, "", "", text, "", pin)
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise HandleError(f"{_masked(text)!r} is no URL: {error}") from error
    if parts.scheme == "file":
        return _file(text, parts.netloc, unquote(parts.path), pin)
    if not parts.netloc:
        raise HandleError(f"{_masked(text)!r} names a scheme but no place", fix=f"Write {parts.scheme}://HOST/PATH.")
    if parts.fragment:
        raise HandleError(f"{_masked(text)!r} has a fragment", fix="Only #sha256=<64 digits> may follow a handle.")
    host, path = parts.netloc, parts.path.rstrip("/")
    if parts.scheme in ("http", "https"):  # elsewhere it is a bucket's or an owner's name, where case counts
        userinfo, at, place = host.rpartition("@")
        host = userinfo + at + place.lower()
    query = "&".join(part for part in parts.query.split("&") if part and not part.startswith("tf-hub-format="))
    rest = "?" + query if query else ""
    if (shared := _shared_key(parts.scheme, host, path)) is not None:
        return Handle(text, shared, parts.scheme, host, path, "", pin)
    return Handle(text, f"{parts.scheme}://{host}{path}{rest}", parts.scheme, host, path, query, pin)


def _shared_key(scheme: str, host: str, path: str) -> str | None:
    """The key of a model that has several spellings."""
    if scheme not in ("kaggle", "hf") and host not in (*KAGGLE_HOSTS, *HUGGING_FACE_HOSTS):
        return None
    from tfimm_resolver.handles import canonical  # a millisecond that no other handle need cost

    return canonical.canonical_key(scheme, host, path)


def _masked(text: str) -> str:
    """A text that could not be parsed, without what may be credentials or a signature."""
    return re.sub(r"://[^/?#]*@", "://", text).partition("?")[0] if "://" in text else text


def _file(text: str, host: str, path: str, pin: str | None) -> Handle:
    if host not in ("", "localhost") or not path:
        raise HandleError(f"{text!r} names no local file", fix="Write file:///ABSOLUTE/PATH.")
    return Handle(text, path, "", "", path, "", pin)


def _without_pin(text: str) -> tuple[str, str | None]:
    rest, mark, pin = text.partition("#sha256=")
    return (rest, _checked_pin(pin)) if mark else (text, None)


def _checked_pin(pin: str) -> str:
    if not isinstance(pin, str) or not _SHA256.fullmatch(pin.lower()):
        raise HandleError(f"a sha256 has 64 hexadecimal digits, not {pin!r:.80}")
    return pin.lower()
