"""Reads a zip archive from a file, strictly: redundant headers must agree, and nothing may lie between members."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import zipfile
import zlib as stdlib_zlib
from collections.abc import Iterator
from typing import IO, Any

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.member_policy import quote_name
from tfimm_resolver.archives.tar_reader import Member
from tfimm_resolver.errors import ArchiveError, ResolverError
from tfimm_resolver.errors.os_errors import map_resource_errors

zlib: Any = stdlib_zlib
with contextlib.suppress(ImportError):  # isal has no wheel for this platform
    from isal import isal_zlib

    zlib = isal_zlib

_CHUNK_BYTES = 1 << 18
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # APPNOTE.TXT 4.3.7
_ENCRYPTED, _HAS_DATA_DESCRIPTOR = 0x2041, 0x08
_SIZE_IN_ZIP64, _COUNT_IN_ZIP64 = 0xFFFFFFFF, 0xFFFF


def read_members(file: IO[bytes]) -> Iterator[Member]:
    """Yield every member, in the order of the central directory.

    Raises:
        ArchiveError: if a member is neither a regular file nor a directory, is encrypted, compressed by a method other than
            stored and deflated, or damaged; if headers contradict each other; if any bytes do not belong to a member.
    """
    with _translate_zip_errors(), zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        if _read_member_count(archive, file) != len(infos):
            raise ArchiveError("the zip is damaged: something follows its end, or its central directory is incomplete")
        starts, position = {}, 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset != position:
                name = quote_name(info.orig_filename)
                raise ArchiveError(
                    f"the zip is damaged: what precedes member {show(name)} does not match the central directory"
                )
            _check_kind(info)
            starts[info], position = _find_member_span(info, file)
        if archive.start_dir != position:
            raise ArchiveError("the zip is damaged: it contains data that its central directory does not list")
        for info in infos:
            is_directory = info.orig_filename.endswith("/")
            yield Member(info.orig_filename, is_directory, info.file_size, _verify_chunks(info, file, starts[info]))


def read_comment(file: IO[bytes]) -> str:
    """Return the comment at the zip's end; ``git archive`` writes the commit there (https://git-scm.com/docs/git-archive)."""
    with _translate_zip_errors(), zipfile.ZipFile(file) as archive:
        return archive.comment.decode("ascii", "replace")


def _read_member_count(archive: zipfile.ZipFile, file: IO[bytes]) -> int:
    """Return the number of members in the end-of-central-directory record; -1 if the file does not end with one."""
    file.seek(-22 - len(archive.comment), os.SEEK_END)
    end = file.read(12)
    count = int.from_bytes(end[10:12], "little")
    if count == _COUNT_IN_ZIP64 and file.tell() >= 108:
        file.seek(-32 - 56, os.SEEK_CUR)
        end64 = file.read(76)
        if end64.startswith(b"PK\x06\x06") and end64[56:60] == b"PK\x06\x07":
            return int.from_bytes(end64[32:40], "little")
    return count if end.startswith(b"PK\x05\x06") else -1


def _check_kind(info: zipfile.ZipInfo) -> None:
    name, kind = quote_name(info.orig_filename), stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(f"member {show(name)} is a link or a device; only regular files and directories are unpacked")
    if info.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"member {show(name)} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(
            f"member {show(name)} uses compression method {info.compress_type}; only stored and deflated are supported"
        )
    if info.orig_filename.endswith("/") and info.file_size:
        raise ArchiveError(f"member {show(name)} is a directory, but has {info.file_size} bytes")


def _find_member_span(info: zipfile.ZipInfo, file: IO[bytes]) -> tuple[int, int]:
    """Return where the member's data begins, and where everything that belongs to it ends, including its data descriptor."""
    file.seek(info.header_offset)
    head = file.read(_LOCAL_HEADER.size)
    if len(head) < _LOCAL_HEADER.size or not head.startswith(b"PK\x03\x04"):
        raise ArchiveError(f"the zip is damaged: member {quote_name(info.orig_filename)} has no local header")
    _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(head)
    name, extra = file.read(name_bytes), file.read(extra_bytes)
    if size == _SIZE_IN_ZIP64 or packed == _SIZE_IN_ZIP64:
        size, packed = _read_zip64_sizes(extra, size, packed)
    local, central = (crc, packed, size), (info.CRC, info.compress_size, info.file_size)
    is_same = local == central or (
        flags & _HAS_DATA_DESCRIPTOR and all(one in (0, other) for one, other in zip(local, central, strict=True))
    )
    local_name = name.decode("utf-8" if flags & 0x800 else "cp437", "replace")
    if not is_same or method != info.compress_type or flags & _ENCRYPTED or local_name != info.orig_filename:
        raise ArchiveError(
            f"the zip is damaged: member {quote_name(info.orig_filename)} has a local header that contradicts "
            "the central directory"
        )
    start = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
    end = start + info.compress_size
    file.seek(end)
    return start, end + (_find_descriptor_length(info, file.read(24)) if flags & _HAS_DATA_DESCRIPTOR else 0)


def _read_zip64_sizes(extra: bytes, size: int, packed: int) -> tuple[int, int]:
    """Return the sizes, taking those that the local header has no room for from its extra field (APPNOTE.TXT 4.5.3)."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<2H", extra[:4])
        if kind == 1:
            numbers = [int.from_bytes(extra[at : at + 8], "little") for at in range(4, 4 + length - 7, 8)]
            size = numbers.pop(0) if size == _SIZE_IN_ZIP64 and numbers else size
            packed = numbers.pop(0) if packed == _SIZE_IN_ZIP64 and numbers else packed
            break
        extra = extra[4 + length :]
    return size, packed


def _find_descriptor_length(info: zipfile.ZipInfo, following: bytes) -> int:
    """Return the length of the data descriptor after a member: with or without signature, with sizes of 32 or 64 bits."""
    for layout in ("<LQQ", "<LLL"):
        with contextlib.suppress(struct.error):  # too large for 32 bits
            fields = struct.pack(layout, info.CRC, info.compress_size, info.file_size)
            for descriptor in (b"PK\x07\x08" + fields, fields):
                if following.startswith(descriptor):
                    return len(descriptor)
    raise ArchiveError(
        f"the zip is damaged: member {quote_name(info.orig_filename)} has a data descriptor that contradicts its header"
    )


def _verify_chunks(info: zipfile.ZipInfo, file: IO[bytes], start: int) -> Iterator[memoryview]:
    """Yield a member's bytes, and compare their size and CRC with the header at the end."""
    crc = size = 0
    for chunk in _decompress_member(info, file, start):
        crc, size = zlib.crc32(chunk, crc), size + len(chunk)
        if size > info.file_size:
            break
        yield memoryview(chunk)
    if (crc, size) != (info.CRC, info.file_size):
        raise ArchiveError(
            f"the zip is damaged: member {quote_name(info.orig_filename)} has another size or CRC than its header says"
        )


def _decompress_member(info: zipfile.ZipInfo, file: IO[bytes], start: int) -> Iterator[bytes]:
    engine = zlib.decompressobj(wbits=-15) if info.compress_type == zipfile.ZIP_DEFLATED else None
    end = start + info.compress_size
    while start < end and not (engine and engine.eof):
        file.seek(start)  # the file may have been read elsewhere since
        chunk = file.read(min(_CHUNK_BYTES, end - start))
        start += len(chunk)
        if engine is None:
            yield chunk
            continue
        yield from _inflate(engine, chunk, info)
    if engine is not None and (not engine.eof or engine.unused_data or start < end):
        raise ArchiveError(f"the zip is damaged: member {quote_name(info.orig_filename)} does not end where its header says")


def _inflate(engine: Any, chunk: bytes, info: zipfile.ZipInfo) -> Iterator[bytes]:
    is_more = True
    while is_more and not engine.eof:
        try:
            inflated = engine.decompress(chunk, _CHUNK_BYTES)
        except zlib.error as error:
            raise ArchiveError(f"the zip is damaged: member {quote_name(info.orig_filename)}: {show(error)}") from error
        yield inflated
        chunk = engine.unconsumed_tail
        is_more = bool(chunk) or len(inflated) == _CHUNK_BYTES


@contextlib.contextmanager
def _translate_zip_errors() -> Iterator[None]:
    try:
        with map_resource_errors(ArchiveError, "the zip cannot be read"):
            yield
    except ResolverError:
        raise
    # What zipfile and struct raise for nonsensical fields. OSError, of a seek before the start or of a full or broken disk,
    # is mapped by ``Extractor``.
    except (zipfile.BadZipFile, EOFError, ValueError, struct.error, OverflowError, NotImplementedError) as error:
        raise ArchiveError(f"the zip is damaged: {show(error)}") from error
