"""The parsed form of a handle."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from tfimm_resolver._util.outgoing import clean_value, mask_value
from tfimm_resolver._util.urls import find_confusing_character, has_signature, strip_signature
from tfimm_resolver.errors import HandleError

SHORTENED = "?…"
"""The end of a handle whose query is left out, as it may contain a secret."""

ARCHIVE_SUFFIXES = (
    *(".tar", ".tar.gz", ".tgz", ".zip"),
    *(".tar.bz2", ".tbz2", ".tbz", ".tb2", ".tar.xz", ".txz", ".tar.lzma", ".tlz", ".tar.zst", ".tzst"),
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
KAGGLE_HOSTS = ("www.kaggle.com", "kaggle.com")
HUGGING_FACE_HOSTS = ("huggingface.co", "hf.co")


@dataclass(frozen=True, slots=True, repr=False)
class Handle:
    """The parsed handle of a model.

    Attributes:
        text: as given, without a ``#sha256=`` pin.
        key: identifies the model; spelling variants share it. For a URL it is the text that tensorflow_hub hashes, so that
            both use the same directory name; without the signature of a signed URL.
        scheme: lower case; empty for a local path or a name.
        host: with port and userinfo; the bucket of a ``gs://`` handle.
        path: a local path as given; the path of a URL without a trailing slash.
        query: without ``tf-hub-format``, which the resolver sets itself.
        sha256: the pin, which the archive's hash must match; None if there is none.

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

    @classmethod
    def parse(cls, text: str | os.PathLike[str], *, sha256: str | None = None) -> Handle:
        """Parse a handle; an explicit ``sha256`` must not contradict the one in a ``#sha256=`` fragment.

        Raises:
            HandleError: if it is empty, is bytes, contains control characters, or has a scheme and no host.
        """
        plain = os.fspath(text) if isinstance(text, (str, os.PathLike)) else text
        if not isinstance(plain, str):
            raise HandleError(f"a handle is a str or a path, not {type(text).__name__}: {text!r:.80}")
        handle = _parse(plain)
        if sha256 is None:
            return handle
        pin = _parse_sha256(sha256)
        if handle.sha256 not in (None, pin):
            text = f"{handle} pins another sha256 than requested:\n  pinned     {handle.sha256}\n  requested  {pin}"
            raise HandleError(text)
        return replace(handle, sha256=pin)

    def __repr__(self) -> str:
        """Return the handle as messages show it, since a debugger or a log shows this, too."""
        pin = "" if self.sha256 is None else f", sha256={self.sha256!r}"
        return f"Handle({clean_value(repr(str(self)))}{pin})"

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

    def url(self, **query: str) -> str:
        """Return the URL to request, with additional query parameters; ``_`` in a name becomes ``-``.

        Nothing is added to a query that holds a signature, which would not match any more.
        """
        query = {} if self.query and has_signature(self.query) else query
        joined = "&".join([self.query, *(f"{name.replace('_', '-')}={value}" for name, value in query.items())])
        return f"{self.scheme}://{self.host}{self.path}" + (f"?{joined.strip('&')}" if joined else "")

    def __str__(self) -> str:
        return self.redacted


def get_key(text: str) -> str:
    """Return the key that all spellings of a handle share; the text itself if it is not a valid handle."""
    try:
        return Handle.parse(text).key
    except HandleError:
        return text


@functools.lru_cache(maxsize=1024)
def _parse(text: str) -> Handle:
    if not text.strip():
        raise HandleError("the handle is empty", fix="Give a URL, a path or a model name.")
    if found := _CONTROL_CHARACTER.search(text):
        raise HandleError(f"the handle {mask_value(text)!r} contains the character {found[0]!r}")
    text, pin = _split_pin(text)
    if _SCHEME.match(text) is None:
        return Handle(text, text, "", "", text, "", pin)
    try:
        parts = urlsplit(text)
    except ValueError:  # its text and its traceback may quote a password that has a bracket
        raise HandleError(f"{mask_value(text)!r} is not a valid URL: check its host and port, and brackets") from None
    if parts.scheme == "file":
        return _make_file_handle(text, parts.netloc, unquote(parts.path), pin)
    if not parts.netloc:
        raise HandleError(f"{mask_value(text)!r} has a scheme but no host", fix=f"Write {parts.scheme}://HOST/PATH.")
    if (found_character := find_confusing_character(parts.netloc)) is not None:
        raise HandleError(
            f"{mask_value(text)!r} has the character {found_character!r} in its host: it is not clear which host is meant",
            fix=f"Write {parts.scheme}://HOST/PATH, with special characters of a user and a password percent-encoded.",
        )
    if parts.fragment:
        raise HandleError(f"{mask_value(text)!r} has a fragment", fix="Only #sha256=<64 digits> may follow a handle.")
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


def _split_pin(text: str) -> tuple[str, str | None]:
    rest, mark, pin = text.partition("#sha256=")
    return (rest, _parse_sha256(pin)) if mark else (text, None)


def _parse_sha256(pin: str) -> str:
    if not isinstance(pin, str) or not _SHA256.fullmatch(pin.lower()):
        raise HandleError(f"a sha256 has 64 hexadecimal digits, not {pin!r:.80}")
    return pin.lower()
