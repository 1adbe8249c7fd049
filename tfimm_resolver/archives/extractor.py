"""The directory that an archive fills: what may come to lie there, under which names, and how much of it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeVar

from tfimm_resolver._util.threads import BackgroundWriter
from tfimm_resolver.archives import tar_reader
from tfimm_resolver.archives.member_policy import MemberNamePolicy, quote_name
from tfimm_resolver.errors import ArchiveError, CacheError, ResolverError
from tfimm_resolver.manifest import FileEntry

AnyBytes = TypeVar("AnyBytes", bytes, memoryview)

CHUNK_BYTES = 1 << 18
_RATIO_CHECK_MIN_BYTES = 64 << 20
_DISK_CHECK_MIN_BYTES = 1 << 20
_FSYNC_INTERVAL_BYTES = 64 << 20
"""While the processor unpacks, the disk is idle: what it takes now need not be waited for before the model is published."""


class Stream(Protocol):
    """Bytes from the network or a disk: at most as many as asked for, none only at the end."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one archive may unpack to.

    Attributes:
        ratio: bytes unpacked for each byte packed; not asked of the first 64 MiB.
    """

    members: int = 100_000
    size_bytes: int = 1 << 40
    ratio: float = 200.0


class ArchiveInput:
    """The packed stream, and how much of it was read."""

    def __init__(self, stream: Stream, total_bytes: int | None) -> None:
        self._stream = stream
        self._head = b""
        self.total_bytes = total_bytes
        self.read_bytes = 0

    def peek(self, size_bytes: int) -> bytes:
        """The beginning, which ``pieces`` will give again; asked first, and once."""
        while len(self._head) < size_bytes and (piece := self._stream.read(size_bytes - len(self._head))):
            self._head += piece
        return self._head

    def pieces(self) -> Iterator[bytes]:
        """All of it."""
        piece = self._head
        while piece:
            self.read_bytes += len(piece)
            yield piece
            piece = self._stream.read(CHUNK_BYTES)


class Extractor:
    """The directory that is filled, and what it may come to hold."""

    def __init__(self, into: Path, packed: ArchiveInput, limits: Limits) -> None:
        self._into, self._packed, self._limits = into, packed, limits
        self._behind, self._flushing = BackgroundWriter(), BackgroundWriter()
        self._members = 0
        self._is_spooled = False
        self._made: set[tuple[str, ...]] = set()
        self._names = MemberNamePolicy()
        self._file_parts: set[tuple[str, ...]] = set()
        self._written: dict[str, FileEntry] = {}
        self._replaced: dict[str, set[str]] = {}
        self._size_bytes = 0

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, *_: object) -> None:
        self._behind.close()
        self._flushing.close()

    def limited(self, pieces: Iterable[AnyBytes]) -> Iterator[AnyBytes]:
        """The pieces, as long as they keep within the limits."""
        limits = self._limits
        for piece in pieces:
            self._size_bytes += len(piece)
            if self._size_bytes > limits.size_bytes:
                raise self._too_large()
            if self._size_bytes > max(_RATIO_CHECK_MIN_BYTES, limits.ratio * self._packed.read_bytes):
                raise ArchiveError(
                    f"it unpacks to over {limits.ratio:g} times its size",
                    fix="If you trust it, set TFIMM_RESOLVER_MAX_RATIO.",
                )
            yield piece

    def fill(self, members: Iterable[tar_reader.Member], *, last_wins: bool = False) -> None:
        """Put every member in its place; a file that is there twice is refused, unless the last one wins."""
        for member in members:
            if member.is_directory:
                self.directory(member.name)
            else:
                self.file(member.name, member.pieces, member.size_bytes, may_replace=last_wins)

    def directory(self, name: str) -> None:
        """Make a directory, which may be there already."""
        parts = self._parts(name, is_directory=True)
        with self._telling(name):
            self._make(parts)

    def file(self, name: str, pieces: Iterable[bytes | memoryview], size_bytes: int, *, may_replace: bool = False) -> None:
        """Have a file written, which may not be there unless ``may_replace``; it is whole once ``behind`` has finished."""
        parts = self._parts(name, is_directory=False)
        self.expect(size_bytes)
        if may_replace and parts in self._file_parts:
            self._remove_earlier(parts)
        self._file_parts.add(parts)
        with self._telling(name):
            self._make(parts[:-1])
            # x: the disk knows best which names are the same.
            file = open(self._into.joinpath(*parts), "xb", buffering=0)  # noqa: SIM115  # closed behind
        path = "/".join(parts)
        output = _HashingFileWriter(file, path, self._flushing)

        def write(piece: bytes | memoryview) -> None:
            with self._telling(name):
                output.write(piece)

        try:
            for piece in pieces:
                self._behind.do(write, piece)
            self._behind.do(lambda: self._written.update({path: output.finished()}))
        finally:
            self._behind.do_anyway(lambda: self._flushing.do_anyway(file.close))

    def finish(self) -> None:
        """Wait until all is written. Raises what went wrong with it."""
        self._behind.finish()
        with self._telling(""):
            self._flushing.finish()

    def replaced(self) -> list[str]:
        """The paths of files that a later member of other bytes replaced; complete after ``finish``."""
        return sorted(path for path, hashes in self._replaced.items() if hashes != {self._written[path].sha256})

    @property
    def files(self) -> list[FileEntry]:
        """What was written; complete after ``finish``."""
        return [*self._written.values()]

    def expect(self, size_bytes: int, members: int = 1) -> None:
        """Refuse what passes the limits, or what the disk has no room for, before any of it is written."""
        if members > self._limits.members:
            raise self._too_many()
        if size_bytes > self._limits.size_bytes:
            raise self._too_large()
        self.want_room(size_bytes)

    def want_room(self, size_bytes: int) -> None:
        """Refuse what the disk has no room for."""
        if size_bytes < _DISK_CHECK_MIN_BYTES:
            return
        with self._telling(""):
            if size_bytes > shutil.disk_usage(self._into).free:
                raise self._full(size_bytes)

    @contextlib.contextmanager
    def spooled(self) -> Iterator[IO[bytes]]:
        """The whole packed stream in a file beside what is unpacked: it goes with it, and waiters see it grow."""
        self._is_spooled = True
        with self._telling(""), tempfile.NamedTemporaryFile(dir=self._into) as file:
            with self._telling(""):  # while the file is there: how much room it takes is part of what is told
                for piece in self._packed.pieces():
                    file.write(piece)
                file.flush()
            yield file

    def _remove_earlier(self, parts: tuple[str, ...]) -> None:
        """Remove a file that a later member of the same name replaces."""
        self.finish()  # of the earlier one all must be written, and closed
        with self._telling("/".join(parts)):
            os.unlink(self._into.joinpath(*parts))
        earlier = self._written.pop("/".join(parts))
        self._replaced.setdefault(earlier.path, set()).add(earlier.sha256)

    def _make(self, parts: tuple[str, ...]) -> None:
        """Make directories below the target, but never the target: whoever removed that does not want it filled."""
        for depth in range(1, len(parts) + 1):
            if parts[:depth] not in self._made:
                path = self._into.joinpath(*parts[:depth])
                if not path.is_dir():
                    path.mkdir()
                self._made.add(parts[:depth])

    def _parts(self, name: str, *, is_directory: bool) -> tuple[str, ...]:
        parts = self._names.parts(name, is_directory=is_directory)
        self._members += 1
        # Directories that stand only in paths count, too: each is one on the disk.
        if max(self._members, self._names.count) > self._limits.members:
            raise self._too_many()
        return parts

    @contextlib.contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        try:
            yield
        except ResolverError:  # of the stream that is being read
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._full() from error
            if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
                raise ArchiveError(f"member {quote_name(name)} stands where another one does") from error
            if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
                raise ArchiveError(f"member {quote_name(name)} has a name that this disk cannot hold") from error
            raise CacheError(f"cannot write {error.filename or self._into}: {error.strerror}") from error

    def _too_many(self) -> ArchiveError:
        return ArchiveError(
            f"it has over {self._limits.members} members", fix="If you trust it, set TFIMM_RESOLVER_MAX_MEMBERS."
        )

    def _too_large(self) -> ArchiveError:
        return ArchiveError(
            f"it unpacks to over {self._limits.size_bytes} bytes", fix="If you trust it, set TFIMM_RESOLVER_MAX_BYTES."
        )

    def _full(self, more_bytes: int = 0) -> CacheError:
        """``more_bytes``: what a member is known to need beyond what came of the archive."""
        packed = self._packed
        held = self._size_bytes + (packed.read_bytes if self._is_spooled else 0)
        room = held + shutil.disk_usage(self._into).free
        known = max(held + more_bytes, packed.total_bytes or 0)
        # The first few bytes of an archive tell little of the rest.
        share = self._size_bytes / packed.read_bytes if packed.read_bytes > CHUNK_BYTES else 0
        about = int(share * (packed.total_bytes or 0))
        needed = f"about {about}" if about > known else f"over {known}"
        return CacheError(
            f"the disk of {self._into.parent} is full: the model needs {needed} bytes, and {room} are free",
            fix="Free some space there, or set TFHUB_CACHE_DIR to another disk.",
        )


class _HashingFileWriter:
    """A file that is being written; what lies in it is hashed, and now and then sent to the disk before the end."""

    def __init__(self, file: IO[bytes], path: str, flushing: BackgroundWriter) -> None:
        self._file, self._path, self._flushing = file, path, flushing
        self._digest = hashlib.sha256()
        self._size_bytes = self._flushed_bytes = 0

    def write(self, piece: bytes | memoryview) -> None:
        """Add a piece."""
        view = memoryview(piece)
        while view:
            view = view[self._file.write(view) :]
        self._digest.update(piece)
        self._size_bytes += len(piece)
        if self._size_bytes - self._flushed_bytes > _FSYNC_INTERVAL_BYTES:
            self._flushed_bytes = self._size_bytes
            self._flushing.do(os.fsync, self._file.fileno())

    def finished(self) -> FileEntry:
        """What was written."""
        return FileEntry(self._path, self._size_bytes, self._digest.hexdigest())
