"""Writes archive members below one directory, within limits on their names, number and size."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

from tfimm_resolver._util import fs
from tfimm_resolver._util.threads import BackgroundWriter
from tfimm_resolver.archives.budget import AnyBytes, Budget, Limits
from tfimm_resolver.archives.file_writer import HashingFileWriter
from tfimm_resolver.archives.links import Parts, PendingLinks, find_target
from tfimm_resolver.archives.member_policy import MemberNamePolicy, Skip, quote_name
from tfimm_resolver.archives.tar_reader import Link, Member
from tfimm_resolver.errors import ArchiveError, CacheError, ResolverError, UnsupportedMemberError
from tfimm_resolver.errors.os_errors import (
    is_disk_full,
    is_out_of_inodes,
    make_disk_full_error,
    map_os_errors,
    suggest_disk_fix,
)
from tfimm_resolver.manifest import FileEntry

CHUNK_BYTES = 1 << 18
TAIL_BYTES = 64
_DISK_CHECK_MIN_BYTES = 1 << 20


class Stream(Protocol):
    """Bytes from the network or a disk."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, empty only at the end."""


class ArchiveInput:
    """The packed stream, with a count of the bytes that were consumed.

    Attributes:
        total_bytes: the length of the stream, or None if it is not known.
        read_bytes: how much of it ``chunks`` has yielded.
        tail: the last few bytes that it has yielded, ``TAIL_BYTES`` if there are so many.
    """

    def __init__(self, stream: Stream, total_bytes: int | None) -> None:
        self._stream = stream
        self._head = b""
        self.total_bytes = total_bytes
        self.read_bytes = 0
        self.tail = b""

    def peek(self, size_bytes: int) -> bytes:
        """Return the first bytes, so many if there are, without consuming them; call it before ``chunks``."""
        while len(self._head) < size_bytes and (chunk := self._stream.read(size_bytes - len(self._head))):
            self._head += chunk
        return self._head

    def chunks(self) -> Iterator[bytes]:
        """Yield the whole stream, including what ``peek`` returned."""
        chunk = self._head or self._stream.read(CHUNK_BYTES)
        while chunk:
            self.read_bytes += len(chunk)
            self.tail = (self.tail + chunk[-TAIL_BYTES:])[-TAIL_BYTES:]
            yield chunk
            chunk = self._stream.read(CHUNK_BYTES)


class Extractor:
    """Writes files and directories below ``into``, an empty directory, while they keep within ``limits``.

    Attributes:
        budget: counts what was unpacked.
    """

    def __init__(self, into: Path, packed: ArchiveInput, limits: Limits) -> None:
        self._into, self._packed = into, packed
        self.budget = Budget(limits, lambda: packed.read_bytes)
        self._writer, self._fsyncer = BackgroundWriter(), BackgroundWriter(tasks_before_thread=0)
        self._is_spooled = False
        self._created_dirs: set[Parts] = set()
        self._names = MemberNamePolicy()
        self._file_parts: set[Parts] = set()
        self._links = PendingLinks()
        self._written: dict[str, FileEntry] = {}
        self._replaced: dict[str, set[str]] = {}

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._fsyncer.close()

    def enforce_limits(self, chunks: Iterable[AnyBytes]) -> Iterator[AnyBytes]:
        """Yield unpacked chunks as long as their total keeps within the limits. Raises ArchiveError beyond them."""
        return self.budget.count_chunks(chunks)

    def extract(self, members: Iterable[Member], *, last_wins: bool = False, skip: Skip | None = None) -> None:
        """Write every member. A second file of the same path is an error, or replaces the first if ``last_wins``.

        Links are replaced by copies of the files that they lead to. ``skip`` is called for each member that this system
        cannot hold, with an error that is raised without it.
        """
        for member in members:
            try:
                self._extract_member(member, last_wins=last_wins)
            except UnsupportedMemberError as error:
                if skip is None:
                    raise
                skip(error)
        for name, parts, target in self._links.resolve(self._file_parts, self._created_dirs):
            self._copy_file(name, parts, target)

    def _extract_member(self, member: Member, *, last_wins: bool) -> None:
        if member.is_directory:
            self.make_directory(member.name)
        elif member.link is not None:
            self._add_link(member.name, member.link, may_replace=last_wins)
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
        self._make_room(name, parts, may_replace=may_replace)
        self._write(name, parts, chunks)

    def _write(self, name: str, parts: Parts, chunks: Iterable[bytes | memoryview]) -> None:
        with self._map_os_errors(name):
            self._ensure_dirs(parts[:-1])
            # x: the file system knows best which names are the same.
            file = open(self._into.joinpath(*parts), "xb", buffering=0)  # noqa: SIM115  # closed in the background
        self._file_parts.add(parts)
        path = "/".join(parts)
        output = HashingFileWriter(file, path, self._fsyncer)

        def write(chunk: bytes | memoryview) -> None:
            with self._map_os_errors():  # the file exists: its name was allowed
                output.write(chunk)

        try:
            for chunk in chunks:
                self._writer.submit(write, chunk)
            self._writer.submit(lambda: self._written.update({path: output.make_entry()}))
        finally:
            self._writer.submit_cleanup(lambda: self._fsyncer.submit_cleanup(file.close))

    def _add_link(self, name: str, link: Link, *, may_replace: bool) -> None:
        """Copy what a hard link leads to; note any other link, whose target a later member may replace."""
        parts = self._validate_name(name, is_directory=False)
        target = find_target(name, parts, link)
        if link.is_hard and target == parts and parts in self._file_parts:  # as GNU tar packs a file that is named twice
            return
        self._make_room(name, parts, may_replace=may_replace)
        if link.is_hard and target in self._file_parts:
            self._copy_file(name, parts, target)
        else:
            self._links.add(name, parts, link, target, is_directory=target in self._created_dirs)

    def _copy_file(self, name: str, parts: Parts, source: Parts) -> None:
        """Write a copy of a file that was unpacked; its bytes count like those of any other."""
        self._writer.flush()
        with self._map_os_errors(name), open(self._into.joinpath(*source), "rb", buffering=0, opener=fs.open_regular) as file:
            self._write(name, parts, self.enforce_limits(iter(lambda: file.read(CHUNK_BYTES), b"")))
        self._file_parts.add(parts)

    def _make_room(self, name: str, parts: Parts, *, may_replace: bool) -> None:
        """Remove an earlier file or link of the same path, if a later one may replace it."""
        if parts in self._links:
            if not may_replace:
                raise _make_collision_error(name)
            self._links.discard(parts)
        elif parts in self._file_parts:
            if not may_replace:
                raise _make_collision_error(name)
            self._remove_earlier(parts)
            self._file_parts.discard(parts)

    def finish(self) -> None:
        """Wait until everything is written. Raises the first error."""
        self._writer.flush()
        with self._map_os_errors():
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
        self.budget.check_members(members)
        self.budget.check_size(size_bytes)
        self.check_disk_space(size_bytes)

    def check_disk_space(self, size_bytes: int) -> None:
        """Raise CacheError if the disk has no room for so many bytes."""
        if size_bytes < _DISK_CHECK_MIN_BYTES:
            return
        with self._map_os_errors():
            free_bytes = fs.get_free_bytes(self._into)
            if free_bytes is not None and size_bytes > free_bytes:
                raise self._make_disk_full_error(size_bytes)

    @contextlib.contextmanager
    def spool(self) -> Iterator[IO[bytes]]:
        """Copy the packed stream to a temporary file in ``into``: it is removed with that, and waiters see it grow.

        Raises ArchiveError as soon as it is too long to keep within the limits, if possible before anything is read.
        """
        import tempfile  # only a zip needs it

        self._is_spooled = True
        self.budget.check_packed_size(self._packed.total_bytes or 0)
        with self._map_os_errors(), tempfile.NamedTemporaryFile(dir=self._into) as file:
            with self._map_os_errors():  # while the file exists: an error about a full disk reports its size
                for chunk in self._packed.chunks():
                    self.budget.check_packed_size(self._packed.read_bytes)
                    file.write(chunk)
                file.flush()
            yield file

    def _remove_earlier(self, parts: Parts) -> None:
        """Remove a file that a later member of the same name replaces."""
        self.finish()  # the earlier one must be written and closed
        with self._map_os_errors("/".join(parts)):
            os.unlink(self._into.joinpath(*parts))
        earlier = self._written.pop("/".join(parts))
        self._replaced.setdefault(earlier.path, set()).add(earlier.sha256)

    def _ensure_dirs(self, parts: Parts) -> None:
        """Create directories below the target, but not the target: if it was removed, it is no longer wanted."""
        for depth in range(1, len(parts) + 1):
            if parts[:depth] not in self._created_dirs:
                # An error if it exists: by a file of this name, or by a name that the file system takes for the same.
                self._into.joinpath(*parts[:depth]).mkdir()
                self._created_dirs.add(parts[:depth])

    def _validate_name(self, name: str, *, is_directory: bool) -> Parts:
        self.budget.add_members()
        parts = self._names.validate(name, is_directory=is_directory)
        # Directories that occur only in paths count, too: each one is created on the disk.
        self.budget.check_members(self._names.count)
        return parts

    def _map_os_errors(self, name: str = "") -> contextlib.AbstractContextManager[None]:
        """Map errors of a step; ``name`` is that of the member that it creates, if it does, which may be what is refused."""
        explain = functools.partial(self._explain, name)
        return map_os_errors(CacheError, self._describe_action, suggest_disk_fix, show_path=True, explain=explain)

    def _describe_action(self) -> str:
        return f"cannot write {self._into}"

    def _explain(self, name: str, error: OSError) -> ResolverError | None:
        """Return what an error of the system means here; None if it needs no explanation."""
        if is_disk_full(error) and not is_out_of_inodes(error):
            return self._make_disk_full_error()
        if name and error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
            return UnsupportedMemberError(_make_collision_error(name).text)
        if error.errno == errno.ENAMETOOLONG and len(name) < len(str(self._into)):
            return None  # the path of the cache is too long, not the name
        if name and error.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
            return UnsupportedMemberError(f"member {quote_name(name)} has a name that this file system does not allow")
        return None

    def _make_disk_full_error(self, more_bytes: int = 0) -> CacheError:
        """``more_bytes``: what a member is known to need beyond what was unpacked so far."""
        packed = self._packed
        used = self.budget.size_bytes + (packed.read_bytes if self._is_spooled else 0)
        available = used + (fs.get_free_bytes(self._into) or 0)
        known = max(used + more_bytes, packed.total_bytes or 0)
        # The first few bytes of an archive are not representative of the rest.
        ratio = self.budget.size_bytes / packed.read_bytes if packed.read_bytes > CHUNK_BYTES else 0
        estimate = int(ratio * (packed.total_bytes or 0))
        about, needed = ("about", estimate) if estimate > known else ("over", known)
        return make_disk_full_error(str(self._into.parent), about, needed, available)


def _make_collision_error(name: str) -> ArchiveError:
    return ArchiveError(f"member {quote_name(name)} collides with another member")
