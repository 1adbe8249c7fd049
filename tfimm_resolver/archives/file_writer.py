"""Writes one file, and hashes its bytes."""

from __future__ import annotations

import hashlib
from typing import IO

from tfimm_resolver._util import fs
from tfimm_resolver._util.threads import BackgroundWriter
from tfimm_resolver.manifest import FileEntry

_FSYNC_INTERVAL_BYTES = 64 << 20
"""The disk is idle while the processor unpacks: what is synced early does not delay the publication of the model."""


class HashingFileWriter:
    """Writes one file, hashes its bytes, and syncs it to the disk now and then before its end."""

    def __init__(self, file: IO[bytes], path: str, fsyncer: BackgroundWriter) -> None:
        self._file, self._path, self._fsyncer = file, path, fsyncer
        self._digest = hashlib.sha256()
        self._size_bytes = self._synced_bytes = 0

    def write(self, chunk: bytes | memoryview) -> None:
        """Append a chunk."""
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) :]
        self._digest.update(chunk)
        self._size_bytes += len(chunk)
        if self._size_bytes - self._synced_bytes > _FSYNC_INTERVAL_BYTES:
            self._synced_bytes = self._size_bytes
            self._fsyncer.submit(fs.fsync_open, self._file.fileno())

    def make_entry(self) -> FileEntry:
        """Return the path, size and hash of the file."""
        return FileEntry(self._path, self._size_bytes, self._digest.hexdigest())
