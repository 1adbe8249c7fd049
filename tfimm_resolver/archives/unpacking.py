"""Unpacks an archive that nobody vouches for: regular files and directories below one directory, or nothing."""

from __future__ import annotations

import contextlib
import gzip
import importlib
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

from tfimm_resolver._util.text import describe_prefix
from tfimm_resolver.archives import tar_reader, zip_reader
from tfimm_resolver.archives.extractor import CHUNK_BYTES, ArchiveInput, Extractor, Limits, Stream
from tfimm_resolver.archives.member_policy import quote_name
from tfimm_resolver.errors import ArchiveError
from tfimm_resolver.manifest import SAVED_MODEL_FILES, FileEntry

GzipFile: Any = gzip.GzipFile
with contextlib.suppress(ImportError):  # no wheel for this platform
    GzipFile = importlib.import_module("isal.igzip").IGzipFile  # twice as fast

log = logging.getLogger("tfimm_resolver")


@dataclass(frozen=True, slots=True)
class ArchiveLayout:
    """What else is known of an archive.

    Attributes:
        is_wrapped: one folder holds all the rest, and is taken off.
        heed: is told a zip's comment before anything is unpacked, and may raise.
    """

    is_wrapped: bool = False
    heed: Callable[[str], None] | None = None


PLAIN = ArchiveLayout()


def unpack(
    stream: Stream, into: Path, limits: Limits | None = None, *, packed_bytes: int | None = None, form: ArchiveLayout = PLAIN
) -> list[FileEntry]:
    """Unpack a .tar, .tar.gz or .zip, told apart by content, into an empty directory; gives the files, sorted by path.

    The whole stream is read and must be nothing but the archive. Modes and owners in it are ignored. One folder that
    wraps a whole SavedModel is taken off. ``packed_bytes``, if known, lets the error of a full disk say what is needed.

    Raises:
        ArchiveError: if it is no archive, is damaged, passes the limits, or holds a member that is no regular file
            or directory, leaves ``into``, or bears the name of another.
        CacheError: if the disk is full or cannot be written.
    """
    packed = ArchiveInput(stream, packed_bytes)
    head = packed.peek(tar_reader.BLOCK_BYTES)
    if not head:
        raise ArchiveError("it is no .tar, .tar.gz or .zip: it is empty")
    with Extractor(into, packed, limits or Limits()) as target:
        target.want_room(packed_bytes or 0)  # what is packed becomes more, as a rule
        if head.startswith(b"\x1f\x8b"):
            target.fill(tar_reader.members(target.limited(_gunzip(packed))), last_wins=True)
        elif head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            _unzip(target, form.heed)
        elif tar_reader.is_header(head):
            target.fill(tar_reader.members(target.limited(packed.pieces())), last_wins=True)
        else:
            raise ArchiveError(f"it is no .tar, .tar.gz or .zip: it begins with {describe_prefix(head)}")
        target.finish()
        for path in target.replaced():
            log.warning(
                "the archive holds %s more than once, with different bytes: the last one counts, as in tar", quote_name(path)
            )
    wrapper = _strip_top_level_dir(into, form.is_wrapped)
    files = (replace(file, path=file.path.removeprefix(wrapper)) for file in target.files)
    return sorted(files, key=lambda file: file.path)


def _gunzip(packed: ArchiveInput) -> Iterator[memoryview]:
    """Every gzip member in a row, each one's CRC and length compared with its trailer; zeros behind them are padding."""
    try:
        with GzipFile(fileobj=_IteratorReader(packed.pieces()), mode="rb") as file:
            buffers: deque[bytearray] = deque()
            while count := file.readinto(buffer := _reuse_buffer(buffers)):
                yield memoryview(buffer)[:count]
    except EOFError as error:
        raise ArchiveError("it is cut short: its gzip trailer is missing") from error
    except (zip_reader.zlib.error, zlib.error, gzip.BadGzipFile) as error:
        raise ArchiveError(f"its gzip stream is damaged: {error}") from error


def _reuse_buffer(buffers: deque[bytearray]) -> bytearray:
    """A buffer at which nobody looks any more, or a new one: memory that was used a moment ago is the quickest."""
    buffer = buffers.popleft() if buffers else bytearray(CHUNK_BYTES)
    try:
        buffer.pop()  # forbidden as long as a view of it is left
        buffer.append(0)
    except BufferError:
        buffers.appendleft(buffer)
        buffer = bytearray(CHUNK_BYTES)
    buffers.append(buffer)
    return buffer


class _IteratorReader(io.RawIOBase):
    """Pieces as the file that gzip reads from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a part of the buffer; nothing at the end."""
        self._left = self._left or memoryview(next(self._pieces, b""))
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


def _unzip(target: Extractor, heed: Callable[[str], None] | None) -> None:
    """Unpack a zip, which only makes sense as a file: its directory stands at its end."""
    with target.spooled() as spool:
        members = list(zip_reader.members(spool))
        if heed is not None:
            heed(zip_reader.comment(spool))
        target.expect(sum(member.size_bytes for member in members))
        target.fill(replace(member, pieces=target.limited(member.pieces)) for member in members)


def _strip_top_level_dir(into: Path, is_wrapped: bool) -> str:
    """Take off one folder that wraps a whole SavedModel, or is known to; gives the beginning that paths have lost with it."""
    names = os.listdir(into)
    if is_wrapped and not (len(names) == 1 and (into / names[0]).is_dir()):
        raise ArchiveError(f"it is not one directory, but holds {', '.join(map(quote_name, sorted(names)[:5])) or 'nothing'}")
    is_model = len(names) == 1 and any((into / names[0] / file).is_file() for file in SAVED_MODEL_FILES)
    if not is_wrapped and not is_model:
        return ""
    wrapper = (into / names[0]).rename(into / uuid.uuid4().hex)
    for child in list(wrapper.iterdir()):
        child.rename(into / child.name)
    wrapper.rmdir()
    return f"{names[0]}/"
