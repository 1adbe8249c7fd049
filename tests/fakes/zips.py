"""Builds zips as many programs write them: compressed by each method, behind a stub, with names of any encoding."""

from __future__ import annotations

import bz2
import lzma
import struct
import sys
import zlib
from typing import Any

from tests.fakes.archives import MODEL
from tests.fakes.hostile import ZipMember, make_zip, u

STORED, DEFLATED, BZIP2, LZMA, ZSTANDARD, XZ = 0, 8, 12, 14, 93, 95
METHODS = {"stored": STORED, "deflated": DEFLATED, "bzip2": BZIP2, "LZMA": LZMA, "Zstandard": ZSTANDARD, "XZ": XZ}
STUB = b"#!/bin/sh\nexit\n"
_HAS_END_MARK = 0x02
_LZMA_FILTER: dict[str, Any] = {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2}


def load_zstd() -> Any:
    """Return the module for Zstandard."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def compress(method: int, data: bytes, *, dictionary_bytes: int = 1 << 16) -> bytes:
    """Compress data as a member of a zip."""
    if method == STORED:
        return data
    if method == DEFLATED:
        engine = zlib.compressobj(9, zlib.DEFLATED, -15)
        return engine.compress(data) + engine.flush()
    if method == BZIP2:
        return bz2.compress(data)
    if method == ZSTANDARD:
        packed: bytes = load_zstd().compress(data)
        return packed
    if method == XZ:
        return lzma.compress(data)
    raw = lzma.compress(data, lzma.FORMAT_RAW, filters=[_LZMA_FILTER])
    return struct.pack("<BBHBL", 9, 20, 5, 93, dictionary_bytes) + raw


def compress_without_mark(data: bytes) -> bytes:
    """Compress data, at most 2 MiB and to at most 64 KiB, by LZMA without a mark at its end."""
    # Each chunk of LZMA2 is such a stream, behind its two lengths (from the third byte on) and a byte of properties.
    chunk = lzma.compress(data, lzma.FORMAT_RAW, filters=[{**_LZMA_FILTER, "id": lzma.FILTER_LZMA2}])
    assert chunk[0] >= 0xE0 and len(chunk) == 6 + int.from_bytes(chunk[3:5], "big") + 1 + 1, "it takes one chunk"
    return struct.pack("<BBHBL", 9, 20, 5, chunk[5], 1 << 16) + chunk[6:-1]


def make_member(name: str | bytes, data: bytes, method: int = DEFLATED, **fields: Any) -> ZipMember:
    """Build a member; ``fields`` are those of ``ZipMember``."""
    flags = fields.pop("flags", 0x800 | (_HAS_END_MARK if method == LZMA else 0))
    packed = fields.pop("packed", None)
    return ZipMember(name, data, method, flags, packed=compress(method, data) if packed is None else packed, **fields)


def make_model(method: int = DEFLATED, prefix: str = "", **end: Any) -> bytes:
    """Build a zip of a model; ``end`` are arguments of ``make_zip``."""
    return make_zip(*(make_member(prefix + name, data, method) for name, data in MODEL.items()), first=False, **end)


def make_unicode_path(raw: bytes, name: str, *, crc: int | None = None, version: int = 1) -> bytes:
    """Build the extra field of Info-ZIP for a name in UTF-8."""
    data = u(1, version) + u(4, zlib.crc32(raw) if crc is None else crc) + name.encode()
    return u(2, 0x7075, len(data)) + data
