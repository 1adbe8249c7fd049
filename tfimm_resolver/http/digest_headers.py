"""Digests that a server states in response headers, and the check of the received bytes against them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Protocol

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import IntegrityError

_NAMES = {"sha-256": "sha256", "sha-512": "sha512", "md5": "md5", "crc32c": "crc32c"}
_LENGTHS = {"sha256": 32, "sha512": 64, "sha1": 20, "md5": 16, "crc32c": 4, "crc32": 4}
_HEXADECIMAL = {f"X-Checksum-{name.capitalize()}": name for name in ("sha256", "sha512", "sha1", "md5")}
"""Artifactory's; Nexus and others send them, too."""

_AMAZON = {f"x-amz-checksum-{name}": name for name in ("sha256", "sha512", "sha1", "md5", "crc32c", "crc32")}


class _Digest(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def digest(self) -> bytes: ...


class ServerDigests:
    """The digests that response headers state for a body. Malformed ones are ignored (RFC 9530, 2: "MAY ignore")."""

    def __init__(self, headers: Mapping[str, str], *, is_complete: bool) -> None:
        """``is_complete``: the response holds the complete body, so that what covers a range or a part covers all of it."""
        self._expected = {
            (field, name): value for field, name, value in _parse_digest_headers(headers, is_complete) if value is not None
        }
        self._digests: dict[str, _Digest] = {name: _make_digest(name) for _, name in self._expected}
        self._decoded: dict[str, _Digest] = {}

    def __bool__(self) -> bool:
        """Whether the server stated any digest."""
        return bool(self._expected)

    @property
    def sha256(self) -> str:
        """The stated sha256 in hexadecimal; empty without one."""
        return next((value.hex() for (_, name), value in self._expected.items() if name == "sha256"), "")

    def update(self, chunk: bytes) -> None:
        """Hash the next bytes of the body."""
        for digest in self._digests.values():
            digest.update(chunk)

    def update_decoded(self, chunk: bytes) -> None:
        """Hash the next bytes of the body without its Content-Encoding.

        What a proxy encoded on the way has the digests of the stored file, which are those of the decoded body.
        """
        self._decoded = self._decoded or {name: _make_digest(name) for name in self._digests}
        for digest in self._decoded.values():
            digest.update(chunk)

    def check(self, url: str) -> None:
        """Compare the digests, once all bytes of the body at ``url`` have been hashed.

        Raises:
            IntegrityError: if one differs.
        """
        for (header, name), expected in self._expected.items():
            actual = self._digests[name].digest()
            decoded = self._decoded[name].digest() if self._decoded else actual
            if expected not in (actual, decoded):
                raise IntegrityError(
                    f"{url} sent bytes that do not match its {header} header:"
                    f"\n  received {show(name)} {actual.hex()}\n  expected {show(name)} {expected.hex()}",
                    fix="The download was discarded. Try again; if the error persists, the copy on that server is damaged.",
                )


def _parse_digest_headers(headers: Mapping[str, str], is_complete: bool) -> Iterator[tuple[str, str, bytes | None]]:
    """Yield field, algorithm and value of every digest: RFC 9530, RFC 3230, RFC 1864, and the headers of storage services."""
    is_transcoded = headers.get("x-goog-stored-content-encoding", "identity") != headers.get("Content-Encoding", "identity")
    # Of a range, some servers state the Digest of the range, and Amazon the checksum of an uploaded part.
    fields = ("Repr-Digest", *(("Digest",) if is_complete else ()), *(() if is_transcoded else ("x-goog-hash",)))
    for field in fields:
        for entry in headers.get(field, "").split(","):
            algorithm, _, value = entry.strip().partition("=")
            if name := _NAMES.get(algorithm.lower()):
                yield field, name, _decode_digest(name, _unwrap_byte_sequence(value) if field == "Repr-Digest" else value)
    for field, name in _HEXADECIMAL.items():
        if field in headers:
            yield field, name, _decode_hexadecimal(name, headers[field])
    is_composite = headers.get("x-amz-checksum-type", "").upper() == "COMPOSITE"  # a checksum of the parts' checksums
    plain = {"x-ms-blob-content-md5": "md5"}
    if is_complete:
        plain |= {"Content-MD5": "md5"} | ({} if is_composite else _AMAZON)
    for field, name in plain.items():
        if field in headers:
            yield field, name, _decode_digest(name, headers[field])


def _unwrap_byte_sequence(value: str) -> str:
    """Strip the colons around a byte sequence of a structured field, and its parameters (RFC 8941, 3.1.2 and 3.3.5)."""
    match = re.fullmatch(":([^:]+):[ ]*(?:;.*)?", value)
    return match[1] if match else ""


def _decode_digest(name: str, value: str) -> bytes | None:
    try:
        decoded = base64.b64decode(re.sub(r"\s", "", value), validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if len(decoded) == _LENGTHS[name] else None


def _decode_hexadecimal(name: str, value: str) -> bytes | None:
    return bytes.fromhex(value) if re.fullmatch(f"[0-9A-Fa-f]{{{2 * _LENGTHS[name]}}}", value.strip()) else None


class _Crc32:
    """The checksum of zlib, as four bytes."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def _make_digest(name: str) -> _Digest:
    if name == "crc32":
        return _Crc32()
    if name == "crc32c":
        import google_crc32c

        crc: _Digest = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
        return crc
    return hashlib.new(name, usedforsecurity=False)
