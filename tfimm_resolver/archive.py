"""Unpacks an archive that nobody vouches for: regular files and directories below one directory, or nothing."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import re
import shutil
import stat
import tempfile
import uuid
import zipfile
import zlib as stdlib_zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from tfimm_resolver import tar
from tfimm_resolver.errors import ArchiveError, CacheError, ResolverError
from tfimm_resolver.record import SAVED_MODEL_FILES

zlib: Any = stdlib_zlib
with contextlib.suppress(ImportError):  # no wheel for this platform
    zlib = importlib.import_module("isal.isal_zlib")  # twice as fast

_PIECE_BYTES = 1 << 18
_RATIO_FREE_BYTES = 64 << 20
_DEPTH_MAX = 100
_TAGS = re.compile(r"<(script|style).*?</\1>|<[^>]*>?", re.DOTALL | re.IGNORECASE)
_FOREIGN = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:")


class Stream(Protocol):
    """Bytes from the network or a disk; fewer than asked for only at the end."""

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


@dataclass(slots=True)
class Written:
    """How many regular files an archive held, and their bytes."""

    files: int = 0
    size_bytes: int = 0


def unpack(stream: Stream, into: Path, limits: Limits | None = None, *, packed_bytes: int | None = None) -> Written:
    """Unpack a .tar, .tar.gz or .zip, told apart by content, into an empty directory.

    The whole stream is read and must be nothing but the archive. Modes and owners in it are ignored. One folder that
    wraps a whole SavedModel is taken off. ``packed_bytes``, if known, lets the error of a full disk say what is needed.

    Raises:
        ArchiveError: if it is no archive, is damaged, passes the limits, or holds a member that is no regular file
            or directory, leaves ``into``, or bears the name of another.
        CacheError: if the disk is full or cannot be written.
    """
    packed = _Packed(stream, packed_bytes)
    head = packed.peek(tar.BLOCK_BYTES)
    target = _Target(into, packed, limits or Limits())
    if head.startswith(b"\x1f\x8b"):
        target.fill(tar.members(target.limited(_gunzipped(packed))))
    elif head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        _unzip(target)
    elif tar.is_header(head):
        target.fill(tar.members(target.limited(packed.pieces())))
    else:
        raise ArchiveError(f"it is no .tar, .tar.gz or .zip: it begins with {quoted(head)}")
    _unwrap(into)
    return target.written


def quoted(start: bytes) -> str:
    """The start of something that was expected to be an archive, for an error message."""
    text = start[:300].decode("utf-8", "replace")
    is_page = text.lstrip()[:9].lower().startswith(("<!doctype", "<html"))
    if is_page:
        text = _TAGS.sub(" ", text)
    text = " ".join(text.split())
    return ("an HTML page: " if is_page else "") + (repr(text) if text.isprintable() else repr(start[:16]))


def inside(name: str) -> tuple[str, ...]:
    """The parts of a relative path that comes from outside, if it stays where it is put.

    Raises:
        ArchiveError: if it is absolute, climbs, or holds a control character, a backslash or a drive letter.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if len(parts) > _DEPTH_MAX:
        raise ArchiveError(f"member {name[:80]!r}... lies {len(parts)} directories deep")
    if name.startswith("/") or ".." in parts or _FOREIGN.search(name):
        raise ArchiveError(f"member {name!r} does not stay inside the model's directory")
    return parts


class _Packed:
    """The packed stream, and how much of it was read."""

    def __init__(self, stream: Stream, total_bytes: int | None) -> None:
        self._stream = stream
        self._head = b""
        self.total_bytes = total_bytes
        self.read_bytes = 0

    def peek(self, size_bytes: int) -> bytes:
        self._head = self._stream.read(size_bytes)
        return self._head

    def pieces(self) -> Iterator[bytes]:
        piece = self._head
        while piece:
            self.read_bytes += len(piece)
            yield piece
            piece = self._stream.read(_PIECE_BYTES)


def _gunzipped(packed: _Packed) -> Iterator[bytes]:
    """Every gzip member in a row; zlib compares each one's CRC and length with its trailer."""
    engine = None
    for piece in packed.pieces():
        rest = piece
        while rest:
            engine = engine or zlib.decompressobj(wbits=31)
            yield from _inflated(engine, rest)
            rest = b""
            if engine.eof:
                rest, engine = engine.unused_data, None
            if rest and not b"\x1f\x8b".startswith(rest[:2]):
                raise ArchiveError(f"something follows its end: {quoted(rest)}")
    if engine is not None:
        raise ArchiveError("it is cut short: its gzip trailer is missing")


def _inflated(engine: Any, piece: bytes) -> Iterator[bytes]:
    """What a piece unpacks to, never more than a few pieces at a time, however well it is packed."""
    while not engine.eof:
        try:
            inflated = engine.decompress(piece, _PIECE_BYTES * 4)
        except zlib.error as error:
            raise ArchiveError(f"its gzip stream is damaged: {error}") from error
        yield inflated
        piece = engine.unconsumed_tail
        if not piece and len(inflated) < _PIECE_BYTES * 4:
            return


class _Target:
    """The directory that is filled, and what it may come to hold."""

    def __init__(self, into: Path, packed: _Packed, limits: Limits) -> None:
        self._into, self._packed, self._limits = into, packed, limits
        self._members = 0
        self._is_spooled = False
        self._made: set[tuple[str, ...]] = set()
        self.written = Written()
        self._size_bytes = 0

    def limited(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces, as long as they keep within the limits."""
        limits = self._limits
        for piece in pieces:
            self._size_bytes += len(piece)
            if self._size_bytes > limits.size_bytes:
                raise ArchiveError(
                    f"it unpacks to over {limits.size_bytes} bytes", fix="If you trust it, set TFIMM_RESOLVER_MAX_BYTES."
                )
            if self._size_bytes > max(_RATIO_FREE_BYTES, limits.ratio * self._packed.read_bytes):
                raise ArchiveError(
                    f"it unpacks to over {limits.ratio:g} times its size",
                    fix="If you trust it, set TFIMM_RESOLVER_MAX_RATIO.",
                )
            yield piece

    def fill(self, members: Iterable[tar.Member]) -> None:
        for member in members:
            if member.is_directory:
                self.directory(member.name)
            else:
                self.file(member.name, member.pieces)

    def directory(self, name: str) -> None:
        parts = self._parts(name)
        with self._telling(name):
            self._make(parts)

    def file(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        parts = self._parts(name)
        with self._telling(name):
            self._make(parts[:-1])
            with open(
                self._into.joinpath(*parts), "xb", buffering=0
            ) as file:  # x: the disk knows best which names are the same
                for piece in pieces:
                    self.written.size_bytes += _write_all(file, piece)
            self.written.files += 1

    @contextlib.contextmanager
    def spooled(self) -> Iterator[IO[bytes]]:
        """The whole packed stream in a file beside what is unpacked: it goes with it, and waiters see it grow."""
        self._is_spooled = True
        with tempfile.NamedTemporaryFile(dir=self._into) as file:
            with self._telling(""):
                for piece in self._packed.pieces():
                    file.write(piece)
                file.flush()
            yield file

    def _make(self, parts: tuple[str, ...]) -> None:
        """Make directories below the target, but never the target: whoever removed that does not want it filled."""
        for depth in range(1, len(parts) + 1):
            if parts[:depth] not in self._made:
                path = self._into.joinpath(*parts[:depth])
                if not path.is_dir():
                    path.mkdir()
                self._made.add(parts[:depth])

    def _parts(self, name: str) -> tuple[str, ...]:
        self._members += 1
        if self._members > self._limits.members:
            raise ArchiveError(
                f"it has over {self._limits.members} members", fix="If you trust it, set TFIMM_RESOLVER_MAX_MEMBERS."
            )
        return inside(name)

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
                raise ArchiveError(f"member {name!r} stands where another one does") from error
            if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
                raise ArchiveError(f"member {name!r} has a name that this disk cannot hold") from error
            raise CacheError(f"cannot write {error.filename or self._into}: {error.strerror}") from error

    def _full(self) -> CacheError:
        packed = self._packed
        held = self._size_bytes + (packed.read_bytes if self._is_spooled else 0)
        room = held + shutil.disk_usage(self._into).free
        about = self._size_bytes * (packed.total_bytes or 0) // max(packed.read_bytes, 1)
        needed = f"about {about}" if about > held else f"over {max(held, packed.total_bytes or 0)}"
        return CacheError(
            f"the disk of {self._into.parent} is full: the model needs {needed} bytes, and {room} are free",
            fix="Free some space there, or set TFHUB_CACHE_DIR to another disk.",
        )


def _write_all(file: IO[bytes], piece: bytes | memoryview) -> int:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]
    return len(piece)


def _unzip(target: _Target) -> None:
    """Unpack a zip, which only makes sense as a file: its directory stands at its end."""
    with target.spooled() as spool, _bad_zip(), zipfile.ZipFile(spool) as archive:
        _check_frame(archive, spool)
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ArchiveError(f"member {info.filename!r} is a link or a device; only files and directories are unpacked")
            if info.flag_bits & 1:
                raise ArchiveError(f"member {info.filename!r} is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ArchiveError(
                    f"member {info.filename!r} is packed by method {info.compress_type}; stored and deflated are read"
                )
            if info.orig_filename.endswith("/"):
                target.directory(info.orig_filename)
                continue
            with archive.open(info) as file:
                target.file(info.orig_filename, target.limited(iter(lambda: file.read(_PIECE_BYTES), b"")))


@contextlib.contextmanager
def _bad_zip() -> Iterator[None]:
    try:
        yield
    except ResolverError:
        raise
    except (zipfile.BadZipFile, zlib.error, stdlib_zlib.error, EOFError, NotImplementedError, UnicodeError) as error:
        raise ArchiveError(f"the zip is damaged: {error}") from error


def _check_frame(archive: zipfile.ZipFile, spool: IO[bytes]) -> None:
    """Members fill the file from its start to their directory, which ends it: nothing is before, between or behind."""
    spool.seek(-22 - len(archive.comment), os.SEEK_END)
    end = spool.read(12)
    count = int.from_bytes(end[10:12], "little")
    if end[:4] != b"PK\x05\x06" or count not in (len(archive.infolist()), 0xFFFF):
        raise ArchiveError("the zip is damaged: something follows its end, or its directory is incomplete")
    position = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        _check_gap(info.header_offset - position, position != 0)
        spool.seek(info.header_offset + 26)
        lengths = spool.read(4)
        name_and_extra = int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
        position = info.header_offset + 30 + name_and_extra + info.compress_size
    _check_gap(archive.start_dir - position, position != 0)


def _check_gap(size_bytes: int, is_behind_member: bool) -> None:
    """Between two members there may be the first one's data descriptor, with or without signature, in 32 or 64 bits."""
    if size_bytes not in ((0, 12, 16, 20, 24) if is_behind_member else (0,)):
        raise ArchiveError("the zip is damaged: it holds more than its directory says")


def _unwrap(into: Path) -> None:
    """Take off one folder that wraps a whole SavedModel."""
    names = os.listdir(into)
    if len(names) != 1 or not any((into / names[0] / file).is_file() for file in SAVED_MODEL_FILES):
        return
    wrapper = (into / names[0]).rename(into / uuid.uuid4().hex)
    for child in list(wrapper.iterdir()):
        child.rename(into / child.name)
    wrapper.rmdir()
