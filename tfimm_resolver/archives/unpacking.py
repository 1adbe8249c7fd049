"""Unpacks an untrusted archive: regular files and directories below one directory, or an error."""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import os
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.text import describe_prefix
from tfimm_resolver.archives import tar_reader, zip_reader
from tfimm_resolver.archives.extractor import CHUNK_BYTES, ArchiveInput, Extractor, Limits, Stream
from tfimm_resolver.archives.member_policy import quote_name
from tfimm_resolver.errors import ArchiveError
from tfimm_resolver.manifest import SAVED_MODEL_FILES, FileEntry

GzipFile: Any = gzip.GzipFile
with contextlib.suppress(ImportError):  # isal has no wheel for this platform
    from isal import igzip

    GzipFile = igzip.IGzipFile  # twice as fast

log = logging.getLogger("tfimm_resolver")


@dataclass(frozen=True, slots=True)
class ArchiveLayout:
    """What is known of an archive's layout.

    Attributes:
        strip_top_level: the archive must consist of one top-level directory, which is stripped from every path.
        on_comment: called with a zip's comment before anything is unpacked; may raise.
        on_start: called with the first bytes of what is not a plain tar, before anything is unpacked; may raise.
        on_several_members: called if a gzip has several members, each with a checksum of its own bytes only; may raise.
    """

    strip_top_level: bool = False
    on_comment: Callable[[str], None] | None = None
    on_start: Callable[[bytes], None] | None = None
    on_several_members: Callable[[], None] | None = None


PLAIN = ArchiveLayout()


def unpack(
    stream: Stream,
    into: Path,
    limits: Limits | None = None,
    *,
    packed_bytes: int | None = None,
    layout: ArchiveLayout = PLAIN,
) -> list[FileEntry]:
    """Unpack a .tar, .tar.gz or .zip, recognized by content, into an empty directory, and return its files sorted by path.

    The stream is read to its end and must contain nothing but the archive. Modes and owners in it are ignored. A single
    top-level directory around a SavedModel is stripped.

    Args:
        packed_bytes: the size of the archive, if known; used to check and report the disk space that is needed.

    Raises:
        ArchiveError: if it is not an archive, is damaged, exceeds the limits, or has a member that is not a regular file
            or directory, that would leave ``into``, or whose name collides with another one.
        CacheError: if the disk is full or cannot be written.
    """
    packed = ArchiveInput(stream, packed_bytes)
    head = packed.peek(tar_reader.BLOCK_BYTES)
    if not head:
        raise ArchiveError("it is not a .tar, .tar.gz or .zip archive: it is empty")
    if layout.on_start is not None and not tar_reader.is_header(head):
        layout.on_start(head)
    with Extractor(into, packed, limits or Limits()) as extractor:
        extractor.check_disk_space(packed_bytes or 0)  # unpacked data is usually larger than the archive
        if head.startswith(b"\x1f\x8b"):
            extractor.extract(tar_reader.read_members(extractor.enforce_limits(_gunzip(packed, layout))), last_wins=True)
        elif head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            _unzip(extractor, layout.on_comment)
        elif tar_reader.is_header(head):
            extractor.extract(tar_reader.read_members(extractor.enforce_limits(packed.chunks())), last_wins=True)
        else:
            raise ArchiveError(f"it is not a .tar, .tar.gz or .zip archive: it begins with {describe_prefix(head)}")
        extractor.finish()
        for path in extractor.find_replaced():
            log.warning(
                "the archive contains %s more than once, with different bytes: the last one is used, as by tar",
                quote_name(path),
            )
    prefix = _strip_top_level_dir(into, layout.strip_top_level)
    files = (replace(file, path=file.path.removeprefix(prefix)) for file in extractor.files)
    return sorted(files, key=lambda file: file.path)


def _gunzip(packed: ArchiveInput, layout: ArchiveLayout) -> Iterator[memoryview]:
    """Decompress all gzip members, comparing each one's CRC and length with its trailer; zeros after them are padding."""
    unpacked_bytes = 0
    try:
        with GzipFile(fileobj=_IteratorReader(packed.chunks()), mode="rb") as file:
            buffers: deque[bytearray] = deque()
            while count := file.readinto(buffer := _reuse_buffer(buffers)):
                unpacked_bytes += count
                yield memoryview(buffer)[:count]
    except EOFError as error:
        raise ArchiveError("it is truncated: its gzip trailer is missing") from error
    except (zip_reader.zlib.error, zlib.error, gzip.BadGzipFile) as error:
        raise ArchiveError(f"its gzip stream is damaged: {show(error)}") from error
    # A gzip ends with the length of its last member, modulo 2**32 (RFC 1952, 2.3.1).
    if layout.on_several_members and unpacked_bytes % (1 << 32) != int.from_bytes(packed.tail, "little"):
        layout.on_several_members()


def _reuse_buffer(buffers: deque[bytearray]) -> bytearray:
    """Return a buffer that no view refers to any more, or allocate one; recently used memory is fastest."""
    buffer = buffers.popleft() if buffers else bytearray(CHUNK_BYTES)
    try:
        buffer.pop()  # raises BufferError while a view of it exists
        buffer.append(0)
    except BufferError:
        buffers.appendleft(buffer)
        buffer = bytearray(CHUNK_BYTES)
    buffers.append(buffer)
    return buffer


class _IteratorReader(io.RawIOBase):
    """Presents an iterator of chunks as the file that gzip reads from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Copy bytes into the buffer and return their number, 0 at the end."""
        self._rest = self._rest or memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _unzip(extractor: Extractor, on_comment: Callable[[str], None] | None) -> None:
    """Unpack a zip, which can only be read from a file, since its directory is at its end."""
    with extractor.spool() as file:
        members = list(zip_reader.read_members(file))
        if on_comment is not None:
            on_comment(zip_reader.read_comment(file))
        extractor.check_size(sum(member.size_bytes for member in members))
        extractor.extract(replace(member, chunks=extractor.enforce_limits(member.chunks)) for member in members)


def _strip_top_level_dir(into: Path, is_required: bool) -> str:
    """Strip a single top-level directory, if it holds a SavedModel or is required, and return the stripped prefix."""
    names = os.listdir(into)
    if is_required and not (len(names) == 1 and (into / names[0]).is_dir()):
        found = ", ".join(map(quote_name, sorted(names)[:5])) or "nothing"
        raise ArchiveError(f"it does not have exactly one top-level directory, but contains {found}")
    is_model = len(names) == 1 and any((into / names[0] / file).is_file() for file in SAVED_MODEL_FILES)
    if not is_required and not is_model:
        return ""
    top_level = (into / names[0]).rename(into / uuid.uuid4().hex)
    for child in list(top_level.iterdir()):
        child.rename(into / child.name)
    top_level.rmdir()
    return f"{names[0]}/"
