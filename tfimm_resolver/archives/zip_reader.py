"""Reads a zip archive from a file, strictly: what is said of a member in several places agrees, and nothing lies between."""

from __future__ import annotations

import contextlib
import importlib
import os
import stat
import struct
import zipfile
import zlib as stdlib_zlib
from collections.abc import Iterator
from typing import IO, Any

from tfimm_resolver.archives.member_policy import quote_name
from tfimm_resolver.archives.tar_reader import Member
from tfimm_resolver.errors import ArchiveError, ResolverError

zlib: Any = stdlib_zlib
with contextlib.suppress(ImportError):  # no wheel for this platform
    zlib = importlib.import_module("isal.isal_zlib")

_PIECE_BYTES = 1 << 18
_LOCAL = struct.Struct("<4s5H3L2H")  # APPNOTE.TXT 4.3.7
_ENCRYPTED, _HAS_DATA_DESCRIPTOR = 0x2041, 0x08
_SIZE_IN_ZIP64, _COUNT_IN_ZIP64 = 0xFFFFFFFF, 0xFFFF


def members(spool: IO[bytes]) -> Iterator[Member]:
    """Every member, in the order of the directory.

    Raises:
        ArchiveError: on a member that is neither a regular file nor a directory, is encrypted, packed by a method other than
            stored and deflated, or damaged; where headers contradict each other; and where anything is no part of a member.
    """
    with _translate_zip_errors(), zipfile.ZipFile(spool) as archive:
        infos = archive.infolist()
        if _count(archive, spool) != len(infos):
            raise ArchiveError("the zip is damaged: something follows its end, or its directory is incomplete")
        starts, position = {}, 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset != position:
                name = quote_name(info.orig_filename)
                raise ArchiveError(f"the zip is damaged: it holds more than its directory says, or less, before member {name}")
            _check_kind(info)
            starts[info], position = _find_member_span(info, spool)
        if archive.start_dir != position:
            raise ArchiveError("the zip is damaged: it holds more than its directory says")
        for info in infos:
            is_directory = info.orig_filename.endswith("/")
            yield Member(info.orig_filename, is_directory, info.file_size, _checked_chunks(info, spool, starts[info]))


def comment(spool: IO[bytes]) -> str:
    """What stands at the zip's end: in one that git made, the commit (https://git-scm.com/docs/git-archive)."""
    with _translate_zip_errors(), zipfile.ZipFile(spool) as archive:
        return archive.comment.decode("ascii", "replace")


def _count(archive: zipfile.ZipFile, spool: IO[bytes]) -> int:
    """How many members the end says that there are; -1 where it is no end."""
    spool.seek(-22 - len(archive.comment), os.SEEK_END)
    end = spool.read(12)
    count = int.from_bytes(end[10:12], "little")
    if count == _COUNT_IN_ZIP64 and spool.tell() >= 108:
        spool.seek(-32 - 56, os.SEEK_CUR)
        end64 = spool.read(76)
        if end64.startswith(b"PK\x06\x06") and end64[56:60] == b"PK\x06\x07":
            return int.from_bytes(end64[32:40], "little")
    return count if end.startswith(b"PK\x05\x06") else -1


def _check_kind(info: zipfile.ZipInfo) -> None:
    name, kind = quote_name(info.orig_filename), stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(f"member {name} is a link or a device; only files and directories are unpacked")
    if info.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"member {name} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(f"member {name} is packed by method {info.compress_type}; stored and deflated are read")
    if info.orig_filename.endswith("/") and info.file_size:
        raise ArchiveError(f"member {name} is a directory, and has {info.file_size} bytes")


def _find_member_span(info: zipfile.ZipInfo, spool: IO[bytes]) -> tuple[int, int]:
    """Where the member's bytes begin, and where all that belongs to it ends, its descriptor included."""
    spool.seek(info.header_offset)
    head = spool.read(_LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(b"PK\x03\x04"):
        raise ArchiveError(f"the zip is damaged: member {quote_name(info.orig_filename)} has no header")
    _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _LOCAL.unpack(head)
    name, extra = spool.read(name_bytes), spool.read(extra_bytes)
    if size == _SIZE_IN_ZIP64 or packed == _SIZE_IN_ZIP64:
        size, packed = _zip64(extra, size, packed)
    said, known = (crc, packed, size), (info.CRC, info.compress_size, info.file_size)
    agrees = said == known or (
        flags & _HAS_DATA_DESCRIPTOR and all(one in (0, other) for one, other in zip(said, known, strict=True))
    )
    spelt = name.decode("utf-8" if flags & 0x800 else "cp437", "replace")
    if not agrees or method != info.compress_type or flags & _ENCRYPTED or spelt != info.orig_filename:
        raise ArchiveError(f"the zip is damaged: member {quote_name(info.orig_filename)} is another one in its own header")
    start = info.header_offset + _LOCAL.size + name_bytes + extra_bytes
    spool.seek(start + info.compress_size)
    return start, start + info.compress_size + (_descriptor_bytes(info, spool.read(24)) if flags & _HAS_DATA_DESCRIPTOR else 0)


def _zip64(extra: bytes, size: int, packed: int) -> tuple[int, int]:
    """The sizes that the header has no room for (APPNOTE.TXT 4.5.3)."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<2H", extra[:4])
        if kind == 1:
            numbers = [int.from_bytes(extra[at : at + 8], "little") for at in range(4, 4 + length - 7, 8)]
            size = numbers.pop(0) if size == _SIZE_IN_ZIP64 and numbers else size
            packed = numbers.pop(0) if packed == _SIZE_IN_ZIP64 and numbers else packed
            break
        extra = extra[4 + length :]
    return size, packed


def _descriptor_bytes(info: zipfile.ZipInfo, behind: bytes) -> int:
    """The length of what repeats a member's facts behind it: with or without signature, in 32 or 64 bits."""
    for form in ("<LQQ", "<LLL"):
        with contextlib.suppress(struct.error):  # too large for 32 bits
            facts = struct.pack(form, info.CRC, info.compress_size, info.file_size)
            for descriptor in (b"PK\x07\x08" + facts, facts):
                if behind.startswith(descriptor):
                    return len(descriptor)
    raise ArchiveError(
        f"the zip is damaged: what stands behind member {quote_name(info.orig_filename)} contradicts its header"
    )


def _checked_chunks(info: zipfile.ZipInfo, spool: IO[bytes], start: int) -> Iterator[memoryview]:
    """A member's bytes, compared at their end with what is said of them."""
    crc = size = 0
    for piece in _decompress_member(info, spool, start):
        crc, size = zlib.crc32(piece, crc), size + len(piece)
        if size > info.file_size:
            break
        yield memoryview(piece)
    if (crc, size) != (info.CRC, info.file_size):
        raise ArchiveError(
            f"the zip is damaged: member {quote_name(info.orig_filename)} has another size or CRC than its header says"
        )


def _decompress_member(info: zipfile.ZipInfo, spool: IO[bytes], start: int) -> Iterator[bytes]:
    engine = zlib.decompressobj(wbits=-15) if info.compress_type == zipfile.ZIP_DEFLATED else None
    end = start + info.compress_size
    while start < end and not (engine and engine.eof):
        spool.seek(start)  # whoever spools it may have read elsewhere meanwhile
        piece = spool.read(min(_PIECE_BYTES, end - start))
        start += len(piece)
        if engine is None:
            yield piece
            continue
        yield from _inflate(engine, piece, info)
    if engine is not None and (not engine.eof or engine.unused_data or start < end):
        raise ArchiveError(f"the zip is damaged: member {quote_name(info.orig_filename)} does not end where its header says")


def _inflate(engine: Any, piece: bytes, info: zipfile.ZipInfo) -> Iterator[bytes]:
    is_more = True
    while is_more and not engine.eof:
        try:
            inflated = engine.decompress(piece, _PIECE_BYTES)
        except zlib.error as error:
            raise ArchiveError(f"the zip is damaged: member {quote_name(info.orig_filename)}: {error}") from error
        yield inflated
        piece = engine.unconsumed_tail
        is_more = bool(piece) or len(inflated) == _PIECE_BYTES


@contextlib.contextmanager
def _translate_zip_errors() -> Iterator[None]:
    try:
        yield
    except ResolverError:
        raise
    # What zipfile and struct raise on fields that make no sense. OSError: a seek before the start; what a full or broken
    # disk raises is told by whoever writes.
    except (zipfile.BadZipFile, EOFError, ValueError, struct.error, OverflowError, NotImplementedError) as error:
        raise ArchiveError(f"the zip is damaged: {error}") from error
