"""Recognizes the format of an archive by its first bytes, and tells whether a checksum in it covers all of its bytes."""

from __future__ import annotations

from tfimm_resolver._util.text import describe_prefix, is_html
from tfimm_resolver.errors import ArchiveError

GZIP, BZIP2, XZ, ZSTD, ZIP, LZMA = "gzip", "bzip2", "xz", "zstd", "zip", "lzma"

HEAD_BYTES = 10
"""How many of the first bytes ``identify`` and ``has_checksum`` need."""

_SUFFIXES_WITHOUT_CHECKSUM = (".tar", ".tar.lzma", ".tlz")

DESCRIPTION = ".tar, .tar.gz, .tar.bz2, .tar.xz, .tar.zst or .zip archive"

_ZIP_WITH_MEMBERS, _ZIP_WITHOUT = b"PK\x03\x04", b"PK\x05\x06"
_XZ_MAGIC, _ZSTD_MAGIC = b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_BZIP2_BLOCK, _BZIP2_END = b"1AY&SY", b"\x17rE8P\x90"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
_ZSTD_CHECKSUM_FLAG, _XZ_CHECK_MASK = 0x04, 0x0F


def identify(head: bytes) -> str:
    """Return the format of what begins with ``head``, as one of the names above; empty for a plain tar and all others.

    A .lzma file has no magic number, so it is not recognized here, but by ``is_lzma`` if it is not a tar.
    """
    if head.startswith(b"\x1f\x8b"):
        return GZIP
    if head.startswith((_ZIP_WITH_MEMBERS, _ZIP_WITHOUT)):
        return ZIP
    # Not by "BZh" alone, with which the name of the first member of a tar can begin.
    if head.startswith(b"BZh") and head[4:10] in (_BZIP2_BLOCK, _BZIP2_END):
        return BZIP2
    if head.startswith(_XZ_MAGIC):
        return XZ
    return ZSTD if head.startswith(_ZSTD_MAGIC) or is_skippable(head) else ""


def is_lzma(head: bytes) -> bool:
    """Whether what begins with ``head``, and is not a tar, may be a .lzma file: default properties, any size of dictionary."""
    return len(head) > 13 and head.startswith(b"]\0\0")


def is_skippable(head: bytes) -> bool:
    """Whether this is a frame of zstd that holds no data (RFC 8878, 3.1.2)."""
    return head[1:4] == _ZSTD_SKIPPABLE and 0x50 <= head[0] <= 0x5F


def has_checksum(head: bytes) -> bool:
    """Whether a stream of the format that begins with ``head`` holds a checksum over all of its bytes.

    This decides which archives may be put together from several responses. A plain tar has checksums of its headers only;
    in xz and zstd the checksum is optional. A file may hold several streams: ``ArchiveLayout.on_several_members`` is for
    them.
    """
    form = identify(head)
    if form == XZ:
        return len(head) > 7 and head[7] & _XZ_CHECK_MASK != 0
    if form == ZSTD:
        return len(head) > 4 and not is_skippable(head) and head[4] & _ZSTD_CHECKSUM_FLAG != 0
    return form in (GZIP, BZIP2) or head.startswith(_ZIP_WITH_MEMBERS)


def is_checksum_expected(path: str) -> bool:
    """Whether an archive of that name probably has a checksum over all of its bytes."""
    return not path.lower().endswith(_SUFFIXES_WITHOUT_CHECKSUM)


def make_error(head: bytes) -> ArchiveError:
    """Return the error for what begins with ``head``, and is not an archive."""
    return ArchiveError(f"it is not a {DESCRIPTION}: it begins with {describe_prefix(head)}", is_page=is_html(head))
