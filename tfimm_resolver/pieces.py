"""Streams of bytes on their way to the disk: read from a file, cut into small pieces, counted, hashed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator

from tfimm_resolver import progress
from tfimm_resolver.digests import Digests
from tfimm_resolver.errors import FetchError
from tfimm_resolver.target import PIECE_BYTES


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
            raise FetchError(f"{self._path} cannot be read: {error.strerror}") from error


def counted(pieces: Iterator[bytes], meter: progress.Meter) -> Iterator[bytes]:
    """The same pieces, told to the meter as they pass."""
    for piece in pieces:
        meter.advance(len(piece))
        yield piece


class Cut:
    """Large pieces as a stream of small ones."""

    def __init__(self, pieces: Iterator[bytes], meter: progress.Meter) -> None:
        self._pieces = counted(pieces, meter)
        self._left = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end."""
        self._left = self._left or memoryview(next(self._pieces, b""))
        data, self._left = self._left[:size], self._left[size:]
        return bytes(data)


class Hashed:
    """Pieces that are hashed as they pass, for us and for what the server promised."""

    def __init__(self, read: Callable[[int], bytes], promised: Digests | None = None) -> None:
        self._read, self._promised = read, promised or Digests({}, is_whole=True)
        self.digest = hashlib.sha256()
        self.size_bytes = 0

    def piece(self) -> bytes:
        """The next one."""
        piece = self._read(PIECE_BYTES)
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
