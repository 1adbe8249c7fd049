"""What would notice that a download was put together from two versions of a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

HEAD_BYTES = 4
"""How many of its first bytes tell the format of an archive."""

_CHECKED_FORMATS = (b"\x1f\x8b", b"PK\x03\x04")  # gzip and zip; a plain tar has checksums of its headers only


@dataclass(frozen=True, slots=True)
class Checksums:
    """Which checksums cover all bytes of a body; without any, it may only come from one answer.

    Attributes:
        is_archive: the body is unpacked, which compares the checksums of its format.
        is_hash_known: the caller, or the server, has stated a hash of the whole body, which is compared at the end.
    """

    is_archive: bool = True
    is_hash_known: bool = False

    def are_expected(self, url: str) -> bool:
        """Whether there are likely to be any, before anything has come."""
        return self.is_hash_known or (self.is_archive and not urlsplit(url).path.lower().endswith(".tar"))

    def cover(self, head: bytes) -> bool:
        """Whether there are any for a body that begins with these bytes."""
        return self.is_hash_known or (self.is_archive and head.startswith(_CHECKED_FORMATS))

    def with_hash(self, is_stated: bool) -> Checksums:
        """The same, and a hash that the server may have stated."""
        return replace(self, is_hash_known=self.is_hash_known or is_stated)
