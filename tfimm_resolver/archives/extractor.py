"""Writes archive members below one directory, within limits on their names, number and size."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeVar

from tfimm_resolver._util import fs
from tfimm_resolver._util.cancellation import get_current_token
from tfimm_resolver._util.threads import BackgroundWriter
from tfimm_resolver.archives import tar_reader
from tfimm_resolver.archives.member_policy import MemberNamePolicy, quote_name
from tfimm_resolver.errors import ArchiveError, CacheError, ResolverError
from tfimm_resolver.errors.os_errors import is_disk_full, make_disk_full_error, map_os_errors, suggest_disk_fix
from tfimm_resolver.manifest import FileEntry

AnyBytes = TypeVar("AnyBytes", bytes, memoryview)

CHUNK_BYTES = 1 << 18
_RATIO_CHECK_MIN_BYTES = 64 << 20
_DISK_CHECK_MIN_BYTES = 1 << 20
_FSYNC_INTERVAL_BYTES = 64 << 20
"""The disk is idle while the processor unpacks: what is synced early does not delay the publication of the model."""


class Stream(Protocol):
    """Bytes from the network or a disk."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, empty only at the end."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one archive may unpack to.

    Attributes:
        members: how many files and directories it may contain.
        size_bytes: the total size of its files.
        ratio: unpacked bytes per packed byte; not checked for the first 64 MiB.
    """

    members: int = 100_000
    size_bytes: int = 1 << 40
    ratio: float = 200.0


class ArchiveInput:
    """The packed stream, with a count of the bytes that were consumed.

    Attributes:
        total_bytes: the length of the stream, or None if it is not known.
        read_bytes: how much of it ``chunks`` has yielded.
        tail: the last few bytes that it has yielded, four at least at the end of a gzip.
    """

    def __init__(self, stream: Stream, total_bytes: int | None) -> None:
        self._stream = stream
        self._head = b""
        self.total_bytes = total_bytes
        self.read_bytes = 0
        self.tail = b""

    def peek(self, size_bytes: int) -> bytes:
        """Return the first bytes without consuming them; call it once, before ``chunks``."""
        while len(self._head) < size_bytes and (chunk := self._stream.read(size_bytes - len(self._head))):
            self._head += chunk
        return self._head

    def chunks(self) -> Iterator[bytes]:
        """Yield the whole stream, including what ``peek`` returned."""
        chunk = self._head or self._stream.read(CHUNK_BYTES)
        while chunk:
            self.read_bytes += len(chunk)
            self.tail = (self.tail + chunk[-4:])[-4:]
            yield chunk
            chunk = self._stream.read(CHUNK_BYTES)


class Extractor:
    """Writes files and directories below ``into``, an existing directory, while they keep within ``limits``."""

    def __init__(self, into: Path, packed: ArchiveInput, limits: Limits) -> None:
        self._into, self._packed, self._limits = into, packed, limits
        self._token = get_current_token()
        self._writer, self._fsyncer = BackgroundWriter(), BackgroundWriter()
        self._members = 0
        self._is_spooled = False
        self._created_dirs: set[tuple[str, ...]] = set()
        self._names = MemberNamePolicy()
        self._file_parts: set[tuple[str, ...]] = set()
        self._written: dict[str, FileEntry] = {}
        self._replaced: dict[str, set[str]] = {}
        self._size_bytes = 0

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._fsyncer.close()

    def enforce_limits(self, chunks: Iterable[AnyBytes]) -> Iterator[AnyBytes]:
        """Yield unpacked chunks as long as their total keeps within the limits. Raises ArchiveError beyond them."""
        limits = self._limits
        for chunk in chunks:
            self._token.raise_if_cancelled()
            self._size_bytes += len(chunk)
            if self._size_bytes > limits.size_bytes:
                raise self._make_size_error()
            if self._size_bytes > max(_RATIO_CHECK_MIN_BYTES, limits.ratio * self._packed.read_bytes):
                raise ArchiveError(
                    f"it unpacks to over {limits.ratio:g} times its size",
                    fix="If you trust it, set TFIMM_RESOLVER_MAX_RATIO.",
                )
            yield chunk

    def extract(self, members: Iterable[tar_reader.Member], *, last_wins: bool = False) -> None:
        """Write every member. A second file of the same path is an error, or replaces the first if ``last_wins``."""
        for member in members:
            if member.is_directory:
                self.make_directory(member.name)
            else:
                self.write_file(member.name, member.chunks, member.size_bytes, may_replace=last_wins)

    def make_directory(self, name: str) -> None:
        """Create a directory; it may exist already."""
        parts = self._validate_name(name, is_directory=True)
        with self._map_os_errors(name):
            self._ensure_dirs(parts)

    def write_file(
        self, name: str, chunks: Iterable[bytes | memoryview], size_bytes: int, *, may_replace: bool = False
    ) -> None:
        """Write a file in the background, which must not exist unless ``may_replace``; ``finish`` waits for it."""
        parts = self._validate_name(name, is_directory=False)
        self.check_size(size_bytes)
        if may_replace and parts in self._file_parts:
            self._remove_earlier(parts)
        self._file_parts.add(parts)
        with self._map_os_errors(name):
            self._ensure_dirs(parts[:-1])
            # x: the file system knows best which names are the same.
            file = open(self._into.joinpath(*parts), "xb", buffering=0)  # noqa: SIM115  # closed in the background
        path = "/".join(parts)
        output = _HashingFileWriter(file, path, self._fsyncer)

        def write(chunk: bytes | memoryview) -> None:
            with self._map_os_errors(name):
                output.write(chunk)

        try:
            for chunk in chunks:
                self._writer.submit(write, chunk)
            self._writer.submit(lambda: self._written.update({path: output.make_entry()}))
        finally:
            self._writer.submit_cleanup(lambda: self._fsyncer.submit_cleanup(file.close))

    def finish(self) -> None:
        """Wait until everything is written. Raises the first error."""
        self._writer.flush()
        with self._map_os_errors(""):
            self._fsyncer.flush()

    def find_replaced(self) -> list[str]:
        """Return the paths of files that a later member with different bytes replaced; complete after ``finish``."""
        return sorted(path for path, hashes in self._replaced.items() if hashes != {self._written[path].sha256})

    @property
    def files(self) -> list[FileEntry]:
        """The files that were written; complete after ``finish``."""
        return [*self._written.values()]

    def check_size(self, size_bytes: int, members: int = 1) -> None:
        """Raise an error before anything is written if so many members or bytes exceed the limits or the free disk space."""
        if members > self._limits.members:
            raise self._make_member_count_error()
        if size_bytes > self._limits.size_bytes:
            raise self._make_size_error()
        self.check_disk_space(size_bytes)

    def check_disk_space(self, size_bytes: int) -> None:
        """Raise CacheError if the disk has no room for so many bytes."""
        if size_bytes < _DISK_CHECK_MIN_BYTES:
            return
        with self._map_os_errors(""):
            free_bytes = fs.get_free_bytes(self._into)
            if free_bytes is not None and size_bytes > free_bytes:
                raise self._make_disk_full_error(size_bytes)

    @contextlib.contextmanager
    def spool(self) -> Iterator[IO[bytes]]:
        """Copy the packed stream to a temporary file in ``into``: it is removed with that, and waiters see it grow."""
        self._is_spooled = True
        with self._map_os_errors(""), tempfile.NamedTemporaryFile(dir=self._into) as file:
            with self._map_os_errors(""):  # while the file exists: an error about a full disk reports its size
                for chunk in self._packed.chunks():
                    file.write(chunk)
                file.flush()
            yield file

    def _remove_earlier(self, parts: tuple[str, ...]) -> None:
        """Remove a file that a later member of the same name replaces."""
        self.finish()  # the earlier one must be written and closed
        with self._map_os_errors("/".join(parts)):
            os.unlink(self._into.joinpath(*parts))
        earlier = self._written.pop("/".join(parts))
        self._replaced.setdefault(earlier.path, set()).add(earlier.sha256)

    def _ensure_dirs(self, parts: tuple[str, ...]) -> None:
        """Create directories below the target, but not the target: if it was removed, it is no longer wanted."""
        for depth in range(1, len(parts) + 1):
            if parts[:depth] not in self._created_dirs:
                path = self._into.joinpath(*parts[:depth])
                if not path.is_dir():
                    path.mkdir()
                self._created_dirs.add(parts[:depth])

    def _validate_name(self, name: str, *, is_directory: bool) -> tuple[str, ...]:
        self._token.raise_if_cancelled()  # also between members without bytes
        parts = self._names.validate(name, is_directory=is_directory)
        self._members += 1
        # Directories that occur only in paths count, too: each one is created on the disk.
        if max(self._members, self._names.count) > self._limits.members:
            raise self._make_member_count_error()
        return parts

    @contextlib.contextmanager
    def _map_os_errors(self, name: str) -> Iterator[None]:
        with map_os_errors(CacheError, f"cannot write {self._into}", suggest_disk_fix, show_path=True):
            try:
                yield
            except ResolverError:  # from the stream that is being read
                raise
            except OSError as error:
                if is_disk_full(error):
                    raise self._make_disk_full_error() from error
                if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
                    raise ArchiveError(f"member {quote_name(name)} collides with another member") from error
                if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
                    raise ArchiveError(f"member {quote_name(name)} has a name that this file system does not allow") from error
                raise

    def _make_member_count_error(self) -> ArchiveError:
        return ArchiveError(
            f"it has over {self._limits.members} members", fix="If you trust it, set TFIMM_RESOLVER_MAX_MEMBERS."
        )

    def _make_size_error(self) -> ArchiveError:
        return ArchiveError(
            f"it unpacks to over {self._limits.size_bytes} bytes", fix="If you trust it, set TFIMM_RESOLVER_MAX_BYTES."
        )

    def _make_disk_full_error(self, more_bytes: int = 0) -> CacheError:
        """``more_bytes``: what a member is known to need beyond what was unpacked so far."""
        packed = self._packed
        used = self._size_bytes + (packed.read_bytes if self._is_spooled else 0)
        available = used + (fs.get_free_bytes(self._into) or 0)
        known = max(used + more_bytes, packed.total_bytes or 0)
        # The first few bytes of an archive are not representative of the rest.
        ratio = self._size_bytes / packed.read_bytes if packed.read_bytes > CHUNK_BYTES else 0
        estimate = int(ratio * (packed.total_bytes or 0))
        about, needed = ("about", estimate) if estimate > known else ("over", known)
        return make_disk_full_error(str(self._into.parent), about, needed, available)


class _HashingFileWriter:
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
