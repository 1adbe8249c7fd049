"""Reads exact amounts from chunks of any length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tfimm_resolver._util.text import format_size
from tfimm_resolver.archives.tar_header import BLOCK_BYTES
from tfimm_resolver.errors import ArchiveError

_ZEROS_BYTES_MAX = 1 << 30
"""The most that is read after the end of a tar: tapes and disks are padded, but a stream of zeros need not end."""


class BlockReader:
    """The unpacked stream of a tar."""

    def __init__(self, chunks: Iterable[bytes | memoryview]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    @property
    def is_at_end(self) -> bool:
        """Whether nothing follows."""
        return not self._refill()

    def _refill(self) -> bool:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._rest = memoryview(chunk)
        return True

    def iter_bytes(self, size_bytes: int) -> Iterator[memoryview]:
        """Yield exactly ``size_bytes``, in chunks. Raises ArchiveError at the end of the stream."""
        while size_bytes:
            if not self._refill():
                raise ArchiveError("it is truncated")
            chunk = self._rest[:size_bytes]
            self._rest = self._rest[len(chunk) :]
            size_bytes -= len(chunk)
            yield chunk

    def read_exact(self, size_bytes: int) -> bytes:
        """Read exactly so many bytes; raises as ``iter_bytes`` does."""
        return b"".join(self.iter_bytes(size_bytes))

    def skip_padding(self, size_bytes: int) -> None:
        """Read the padding after a body of that size."""
        self.read_exact(-size_bytes % BLOCK_BYTES)

    def expect_zeros(self, least_bytes: int = 0) -> None:
        """Read the rest of the stream. Raises ArchiveError if it is shorter, has anything but zeros, or too many of them."""
        if self.read_exact(least_bytes) != bytes(least_bytes):
            raise ArchiveError("unexpected data follows its end")
        size_bytes = 0
        while self._refill():
            size_bytes += len(self._rest)
            if bytes(self._rest) != bytes(len(self._rest)):  # compared in C, seven times as fast as any()
                raise ArchiveError("unexpected data follows its end")
            if size_bytes > _ZEROS_BYTES_MAX:
                raise ArchiveError(f"over {format_size(_ZEROS_BYTES_MAX)} of zeros follow its end")
            self._rest = memoryview(b"")
