"""Tells whether a checksum would detect a download that mixes two versions of a file."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from tfimm_resolver.archives import formats


class Checksums(NamedTuple):
    """Which checksums cover all bytes of a body; without any, it may only come from one response.

    Attributes:
        is_archive: the body is unpacked, which verifies the checksums of its format.
        is_hash_known: the caller, or the server, has stated a hash of the complete body, which is compared at the end.
    """

    is_archive: bool = True
    is_hash_known: bool = False

    def are_expected(self, url: str) -> bool:
        """Whether there probably are any, judged by the URL alone."""
        return self.is_hash_known or (self.is_archive and formats.is_checksum_expected(urlsplit(url).path))

    def cover(self, head: bytes) -> bool:
        """Whether there are any, for a body that begins with ``head``."""
        return self.is_hash_known or (self.is_archive and formats.has_checksum(head))

    def with_hash(self, is_stated: bool) -> Checksums:
        """Return a copy that also knows whether the server has stated a hash."""
        return self._replace(is_hash_known=self.is_hash_known or is_stated)
