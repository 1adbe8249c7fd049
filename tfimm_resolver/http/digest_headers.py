"""Hashes that a server states for what it sends, and whether the bytes that came have them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Protocol

from tfimm_resolver.errors import IntegrityError

_NAMES = {"sha-256": "sha256", "sha-512": "sha512", "md5": "md5", "crc32c": "crc32c"}
_LENGTHS = {"sha256": 32, "sha512": 64, "md5": 16, "crc32c": 4}


class _Digest(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def digest(self) -> bytes: ...


class ServerDigests:
    """What was promised of a body. A promise that cannot be read is no promise (RFC 9530, 2: "MAY ignore")."""

    def __init__(self, headers: Mapping[str, str], *, is_whole: bool) -> None:
        """``is_whole``: the answer was a 200, whose Content-MD5 speaks of the whole body."""
        self._promised = {
            (field, name): value for field, name, value in _parse_digest_headers(headers, is_whole) if value is not None
        }
        self._digests: dict[str, _Digest] = {name: _new(name) for _, name in self._promised}

    def __bool__(self) -> bool:
        """Whether there is any promise."""
        return bool(self._promised)

    def update(self, piece: bytes) -> None:
        """The next bytes of the body."""
        for digest in self._digests.values():
            digest.update(piece)

    def check(self, place: str) -> None:
        """Compare, once all bytes came.

        Raises:
            IntegrityError: if one differs.
        """
        for (header, name), promised in self._promised.items():
            came = self._digests[name].digest()
            if came != promised:
                raise IntegrityError(
                    f"{place} sent other bytes than its header {header} promises:"
                    f"\n  came     {name} {came.hex()}\n  promised {name} {promised.hex()}",
                    fix="Nothing of it was kept. Try again; if it stays so, the copy at that place is damaged.",
                )


def _parse_digest_headers(headers: Mapping[str, str], is_whole: bool) -> Iterator[tuple[str, str, bytes | None]]:
    """Field, hash and value of every promise: RFC 9530, RFC 3230, RFC 1864 and Google Cloud Storage's own."""
    is_stored_otherwise = headers.get("x-goog-stored-content-encoding", "identity") != headers.get(
        "Content-Encoding", "identity"
    )
    for field in ("Repr-Digest", "Digest", *(() if is_stored_otherwise else ("x-goog-hash",))):
        for said in headers.get(field, "").split(","):
            algorithm, _, value = said.strip().partition("=")
            if name := _NAMES.get(algorithm.lower()):
                yield field, name, _decode_digest(name, _unwrap_byte_sequence(value) if field == "Repr-Digest" else value)
    if is_whole and "Content-MD5" in headers:
        yield "Content-MD5", "md5", _decode_digest("md5", headers["Content-MD5"])


def _unwrap_byte_sequence(value: str) -> str:
    """A byte sequence of a structured field stands between colons (RFC 8941, 3.3.5)."""
    return value[1:-1] if re.fullmatch(":[^:]+:", value) else ""


def _decode_digest(name: str, value: str) -> bytes | None:
    try:
        decoded = base64.b64decode(re.sub(r"\s", "", value), validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if len(decoded) == _LENGTHS[name] else None


def _new(name: str) -> _Digest:
    if name == "crc32c":
        import google_crc32c

        crc: _Digest = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
        return crc
    return hashlib.new(name, usedforsecurity=False)
