"""Streams of bytes by where they come from and what happens to them as they pass: read from a disk, cut, counted, hashed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator

from tfimm_resolver.archives.extractor import CHUNK_BYTES
from tfimm_resolver.errors import FetchError, NotFoundError
from tfimm_resolver.http.digest_headers import ServerDigests
from tfimm_resolver.progress.reporters import ProgressReporter


class LocalFile:
    """A file on this machine as a stream."""

    def __init__(self, path: str) -> None:
        self._path = path
        with self._telling():
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115  # closed by __exit__
            self.size_bytes = os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int, /) -> bytes:
        with self._telling():
            return self._file.read(size)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = NotFoundError if isinstance(error, (FileNotFoundError, NotADirectoryError)) else FetchError
            raise kind(f"{self._path} cannot be read: {error.strerror}") from error


def with_progress(pieces: Iterator[bytes], meter: ProgressReporter) -> Iterator[bytes]:
    """The pieces, each told to a person as it passes."""
    for piece in pieces:
        meter.advance(len(piece))
        yield piece


class ChunkReader:
    """Large pieces as a stream of small ones."""

    def __init__(self, pieces: Iterator[bytes], meter: ProgressReporter) -> None:
        self._pieces = with_progress(pieces, meter)
        self._left = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end."""
        self._left = self._left or memoryview(next(self._pieces, b""))
        data, self._left = self._left[:size], self._left[size:]
        return bytes(data)


class HashingReader:
    """Pieces that are hashed as they pass, for us and for what the server promised."""

    def __init__(self, read: Callable[[int], bytes], promised: ServerDigests | None = None) -> None:
        self._read, self._promised = read, promised or ServerDigests({}, is_whole=True)
        self.digest = hashlib.sha256()
        self.size_bytes = 0

    def piece(self) -> bytes:
        """The next one."""
        piece = self._read(CHUNK_BYTES)
        self.digest.update(piece)
        self._promised.update(piece)
        self.size_bytes += len(piece)
        return piece

    def check(self, place: str) -> None:
        """Compare what came from ``place`` with what it promised.

        Raises:
            IntegrityError: if they differ.
        """
        self._promised.check(place)
