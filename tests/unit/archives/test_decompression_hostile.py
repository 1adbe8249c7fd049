"""Compressed tars that are made to be slow, or that a decompressor fails on with an error of its own."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, member, tar_of
from tfimm_resolver import errors, resolve

TAR = tar_of(*(member(name, data) for name, data in MODEL.items()))
EMPTY_FRAME = struct.pack("<II", 0x184D2A50, 0)


def save(path: Path, data: bytes) -> str:
    """Write an archive; returns its path."""
    path.write_bytes(data)
    return str(path)


def compress_zstd(data: bytes) -> bytes:
    """Compress by zstd."""
    zstd = pytest.importorskip("backports.zstd")
    compressed: bytes = zstd.compress(data)
    return compressed


def test_very_many_empty_frames_are_given_up(tmp_path: Path) -> None:
    path = save(tmp_path / "m.tar.zst", EMPTY_FRAME * 200_000 + compress_zstd(TAR))
    with pytest.raises(errors.ArchiveError, match=r"it consists of over \d+ compressed streams in \d+ bytes"):
        resolve(path)


def test_some_empty_frames_are_skipped(tmp_path: Path) -> None:
    assert files_in(resolve(save(tmp_path / "m.tar.zst", EMPTY_FRAME * 1000 + compress_zstd(TAR)))) == MODEL


def test_a_gzip_whose_header_is_too_long_is_the_package_s_error(tmp_path: Path) -> None:
    compressor = zlib.compressobj(wbits=-15)
    body = compressor.compress(TAR) + compressor.flush() + struct.pack("<LL", zlib.crc32(TAR), len(TAR))
    data = b"\x1f\x8b\x08\x08\0\0\0\0\0\3" + b"n" * (600 << 10) + b"\0" + body
    assert gzip.decompress(data) == TAR
    try:
        assert files_in(resolve(save(tmp_path / "m.tar.gz", data))) == MODEL
    except errors.ArchiveError as error:
        assert "its gzip stream is damaged" in error.text
