"""Byte streams: local files, chunk readers, hashing readers."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.extractor import CHUNK_BYTES
from tfimm_resolver.errors import FetchError, NotFoundError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.http.digest_headers import ServerDigests
from tfimm_resolver.progress.reporters import ProgressReporter


class LocalFile:
    """A file on this machine, as a stream."""

    def __init__(self, path: str) -> None:
        self._path = path
        with self._map_read_errors():
            self._file = open(path, "rb", buffering=0, opener=fs.open_regular_target)  # noqa: SIM115  # closed by __exit__
            self.size_bytes = os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes; empty at the end."""
        with self._map_read_errors():
            return self._file.read(size)

    def _map_read_errors(self) -> contextlib.AbstractContextManager[None]:
        return map_os_errors(FetchError, f"{show(self._path)} cannot be read", missing=NotFoundError)


def report_chunks(chunks: Iterator[bytes], meter: ProgressReporter) -> Iterator[bytes]:
    """Yield the chunks, and report the size of each as progress."""
    for chunk in chunks:
        meter.advance(len(chunk))
        yield chunk


class ChunkReader:
    """An iterator of chunks, as a stream; reports progress."""

    def __init__(self, chunks: Iterator[bytes], meter: ProgressReporter) -> None:
        self._chunks = report_chunks(chunks, meter)
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes; empty at the end."""
        self._rest = self._rest or memoryview(next(self._chunks, b""))
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)


class HashingReader:
    """Reads chunks and hashes them: with sha256 for the record, and for the digests that the server stated."""

    def __init__(
        self, read: Callable[[int], bytes], expected: ServerDigests | None = None, *, is_updated: bool = False
    ) -> None:
        """``is_updated``: ``read`` updates ``expected`` itself, with the bytes that the server sent."""
        self._is_updated = is_updated
        self._read, self._expected = read, ServerDigests({}, is_complete=True) if expected is None else expected
        self.digest = hashlib.sha256()
        self.size_bytes = 0

    @property
    def has_expected(self) -> bool:
        """Whether the server stated a digest."""
        return bool(self._expected)

    def read_chunk(self) -> bytes:
        """Read the next chunk; empty at the end."""
        chunk = self._read(CHUNK_BYTES)
        self.digest.update(chunk)
        if not self._is_updated:
            self._expected.update(chunk)
        self.size_bytes += len(chunk)
        return chunk

    def check(self, url: str) -> None:
        """Compare the received bytes with the digests that the server at ``url`` stated.

        Raises:
            IntegrityError: if they differ.
        """
        self._expected.check(url)
