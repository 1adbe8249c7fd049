"""Replaces what differs between two runs of the same code: paths, ports, times, process ids, random tokens.

Every rule matches one kind of value and keeps the text around it, so that any other change still shows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_URL = re.compile(r"[a-z][a-z0-9+.]*://[^\s\"'<>`\\]+")
_FLOCK = r"(?:flock|soft)-\d+-[0-9a-f]+-[0-9a-f]{16}"
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?m)^(Downloader Hostname: ).* \(PID:\d+\)$", r"\1<host name> (PID:<process>)"),
        (r"\bprocess \d+ on [\w.-]+", "process <process> on <host name>"),
        (_FLOCK, "<lock word>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", "<time>"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,]\d+", "<time>"),
        (r"\b\d+\.\d s\b", "<seconds> s"),
        (r"(\"(?:seconds|took_s|used_s)\": )\d+(?:\.\d+)?", r"\1<seconds>"),
        (r"(\"asked_s\": )\d+(?:\.\d+)?", r"\1<time>"),
        (r"(\"free_bytes\": )\d+", r"\1<bytes>"),
        (r"\b([IWEF]\d{4} \d\d:\d\d:)\d+\.\d+ +\d+ (?=\w+\.cc:)", r"\1<time> <thread> "),
        (r"(?<=[0-9a-f]{64}-)[0-9a-f]{8}(?![0-9a-f])", "<8 hex>"),
        (r"\bat 0x[0-9a-f]+", "at <address>"),
        (r"\b([Pp]ython[ /]?)3\.\d+(?:\.\d+)?\b", r"\g<1>3.x"),
        (r"\b(tfhub_modules-)[\w.-]+", r"\1<user>"),
        (r"\bcpython-3\d+\b", "cpython-3x"),
        (r"(?<=[0-9a-f>])\.[0-9a-f]{8}(?![0-9a-f])", ".<8 hex>"),
    )
)


class Normaliser:
    """Replaces the values of one run.

    Attributes:
        folders: absolute paths by their replacement.
        addresses: addresses of servers, as ``127.0.0.1:8000``, by their replacement.
        digests: hashes of contents that hold one of these, by their replacement.
    """

    def __init__(self, folders: Mapping[str, Path], addresses: Mapping[str, str]) -> None:
        self.folders = dict(folders)
        self.addresses = dict(addresses)
        self.digests: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Remember the hash of every URL that differs between runs: cache entries are named after such hashes."""
        for url in sorted({url for text in texts for url in _URL.findall(text)}):
            for key in _keys(url) | self._keys_on_host(url):
                if self._varies(key):
                    replacement = self._replace_paths(key)
                    self._names.setdefault(hashlib.sha1(key.encode()).hexdigest(), f"<sha1 {replacement}>")
                    self._names.setdefault(hashlib.sha256(key.encode()).hexdigest()[:12], f"<hash {replacement}>")

    def replace(self, text: str) -> str:
        """Return the text without values that differ between runs."""
        for digest, replacement in self.digests.items():
            text = text.replace(digest, replacement)
        text = re.sub(r"(?<![0-9a-f])(?:[0-9a-f]{40}|[0-9a-f]{12})(?![0-9a-f])", self._find_name, text)
        text = self._replace_paths(text)
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        return text

    def contains_paths(self, data: bytes) -> bool:
        """Return whether the bytes contain a path or an address of this run."""
        values = [*map(str, self.folders.values()), *self.addresses.values()]
        return any(value.encode() in data for value in values)

    def _find_name(self, found: re.Match[str]) -> str:
        return self._names.get(found[0], found[0])

    def _keys_on_host(self, url: str) -> set[str]:
        """Return what a cache may hash for a repository on the configured host, which its handle does not contain."""
        address = self.addresses.get("<git>")
        is_short = address and url.startswith("github://") and address not in url
        return _keys(url.replace("github://", f"github://{address}/")) if is_short else set()

    def _varies(self, text: str) -> bool:
        return self._replace_paths(text) != text

    def _replace_paths(self, text: str) -> str:
        for replacement, folder in sorted(self.folders.items(), key=lambda item: -len(str(item[1]))):
            text = text.replace(str(folder), replacement)
        for replacement, address in self.addresses.items():
            # File names of the hub contain an address with another separator.
            text = re.sub(re.escape(address).replace(":", "[:_-]") + r"(?!\d)", replacement, text)
        return text


def _keys(url: str) -> set[str]:
    """Return what a cache may hash for a model with that URL."""
    url = url.rstrip(".,;:)")
    bare = url.partition("#")[0].rstrip("/")
    keys = {url, bare, re.sub(r"[?&]tf-hub-format=\w+", "", bare), bare.partition("?")[0]}
    keys |= {re.sub(r"(?<=[^/:])/([^/:]+):[^/:]*$", r"/\1", key) for key in keys if key.startswith("github://")}
    return keys | {f"{key.rpartition('/')[2]} {key}" for key in keys}
