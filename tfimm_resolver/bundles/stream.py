"""The bytes of a bundle that is imported: hashed on the way, with what the file looks like for error messages."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from typing import IO

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.text import describe_prefix
from tfimm_resolver.archives.extractor import CHUNK_BYTES
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX
from tfimm_resolver.errors import CacheError, HandleError, IntegrityError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.progress import reporters

_START = re.compile(rb"[0-9a-f]{40}" + re.escape(DESCRIPTOR_SUFFIX.encode()) + rb"\0")
"""The beginning of a bundle: the name of its first record."""

_START_BYTES = 264
_SIGNATURES = ((b"\x1f\x8b", "gzip data"), (b"PK", "a zip archive"), (b"BZh", "bzip2 data"), (b"\xfd7zXZ", "xz data"))


class BundleStream:
    """Reads a bundle in chunks, and hashes it on the way.

    Attributes:
        size_bytes: of what was read.
    """

    def __init__(self, source: IO[bytes], name: str, meter: reporters.ProgressReporter) -> None:
        self._source, self._name, self._meter = source, name, meter
        self._digest, self._start, self.size_bytes = hashlib.sha256(), b"", 0

    @classmethod
    @contextlib.contextmanager
    def open_with_progress(cls, source: IO[bytes], name: str) -> Iterator[BundleStream]:
        """Read a bundle while showing the progress."""
        size_bytes = None
        with contextlib.suppress(OSError, ValueError):  # not a file, or a pipe
            size_bytes = os.fstat(source.fileno()).st_size or None
        with reporters.report_progress(f"import of {os.path.basename(name)}", size_bytes, quiet=settings.is_quiet()) as meter:
            yield cls(source, name, meter)

    def iterate_chunks(self) -> Iterator[bytes]:
        """Yield the bundle in chunks."""
        while chunk := self._read_chunk():
            self._digest.update(chunk)
            self.size_bytes += len(chunk)
            if len(self._start) < _START_BYTES:
                self._start += chunk[: _START_BYTES - len(self._start)]
            self._meter.advance(len(chunk))
            yield chunk

    @property
    def sha256(self) -> str:
        """The hash of what was read."""
        return self._digest.hexdigest()

    def is_bundle(self) -> bool:
        """Whether what was read begins like a bundle; one that was damaged at its beginning does not."""
        return _START.match(self._start) is not None

    def is_tar(self) -> bool:
        """Whether what was read begins like a tar, also one without members."""
        return self._start[257:262] == b"ustar" or (len(self._start) == _START_BYTES and not any(self._start))

    def describe_start(self) -> str:
        """Return what the data that was read looks like."""
        if not self._start:
            return "it is empty"
        known = next((kind for signature, kind in _SIGNATURES if self._start.startswith(signature)), None)
        if known is None and self._start[257:262] == b"ustar":
            known = "a tar archive of something else"
        elif not any(self._start):
            known = "empty, apart from zeros"
        return f"it is {known}" if known else f"it begins with {describe_prefix(self._start)}"

    def check(self, sha256: str | None) -> None:
        """Compare the hash of what was read with the required one, if any.

        Raises:
            IntegrityError: if it differs.
        """
        if sha256 is not None and self.sha256 != sha256.lower():
            hashes = f"  received {self.sha256}\n  pinned   {sha256.lower()}"
            fix = "Nothing was imported. Copy the bundle again, or give the sha256 that its export printed."
            raise IntegrityError(f"the bundle {show(self._name)} has a different sha256:\n{hashes}", fix=fix)

    def _read_chunk(self) -> bytes:
        read = getattr(self._source, "read1", self._source.read)  # returns what a pipe has, without waiting for more
        with map_os_errors(CacheError, f"the bundle {show(self._name)} cannot be read"):
            chunk = read(CHUNK_BYTES)
        if not isinstance(chunk, bytes):
            raise HandleError(f"the bundle {show(self._name)} is a stream of {type(chunk).__name__}, not of bytes")
        return chunk


def find_path(bundle: object, method: str) -> str | None:
    """Return the path of a bundle; None if it is a stream with a method of that name.

    Raises:
        HandleError: if it is neither, or has a character that no path can have.
    """
    if isinstance(bundle, (str, os.PathLike)):
        return settings.check_path(bundle)
    if hasattr(bundle, method):
        return None
    raise HandleError(f"a bundle is a path or a binary stream, not {type(bundle).__name__}: {bundle!r:.80}")
