"""Targets: archives of every format, compressed streams, and bundles."""

from __future__ import annotations

import hashlib
import io
import os
import struct
from pathlib import Path

from tests.fakes import fuzz
from tests.fakes.archives import MODEL, member, tar_of
from tests.fakes.compression import COMPRESSORS
from tests.fakes.hostile import BLOCK_BYTES, entry, set_checksum
from tests.fuzz.target import Target, ViolationError
from tfimm_resolver.archives import formats
from tfimm_resolver.archives.budget import Budget, Limits
from tfimm_resolver.archives.decompression import decompress
from tfimm_resolver.archives.extractor import ArchiveInput
from tfimm_resolver.archives.unpacking import unpack
from tfimm_resolver.bundles.reader import import_
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import Record
from tfimm_resolver.manifest import FileEntry, Origin

_STREAM_LIMITS = Limits(size_bytes=5 << 20, ratio=50)


def _unpack(data: bytes, into: Path) -> None:
    """Unpack in chunks as they come from a network, and check every file that was written."""
    for name in ("into", "beside"):
        (into / name).mkdir()
    (into / "victim").write_bytes(b"untouched")
    try:
        unpack(fuzz.ChunkedStream(data, len(data)), into / "into", fuzz.LIMITS, packed_bytes=len(data))
    finally:
        for violation in fuzz.find_violations(into):
            raise ViolationError(violation)


def correct_checksums(data: bytes) -> bytes:
    """Return a tar with the right checksum in each header, which random changes do not hit."""
    out = bytearray(data)
    for at in range(0, len(out) - BLOCK_BYTES + 1, BLOCK_BYTES):
        if out[at + 257 : at + 262] == b"ustar":
            out[at : at + BLOCK_BYTES] = set_checksum(bytes(out[at : at + BLOCK_BYTES]))
    return bytes(out)


def _is_zip(data: bytes) -> bool:
    return b"PK" in data[:100]


def _make_tars() -> list[bytes]:
    return [data for data in fuzz.make_seeds() if not _is_zip(data)]


def _make_zips() -> list[bytes]:
    return [data for data in fuzz.make_seeds() if _is_zip(data)]


def _make_streams() -> list[bytes]:
    content = _make_tars()[0][:3000]
    return [
        *(compress(content) for compress in COMPRESSORS.values()),
        *(compress(content) + compress(b"x" * 9) for compress in COMPRESSORS.values()),
        *(compress(bytes(1 << 16)) for compress in COMPRESSORS.values()),
    ]


def _decompress(data: bytes, _: Path) -> None:
    """Decompress a stream; it may yield no more than the budget allows."""
    packed = ArchiveInput(fuzz.ChunkedStream(data, len(data)), len(data))
    total = sum(map(len, Budget(_STREAM_LIMITS).count_chunks(decompress(packed, formats.identify(data)))))
    if total > _STREAM_LIMITS.size_bytes:
        raise ViolationError(f"{total} bytes came out of {len(data)}")


def _make_bundles() -> list[bytes]:
    """Return bundles of one and of two models, whose records are right."""
    parts = []
    for url in ("https://h/a/1", "https://h/b/1"):
        name = entry_name_for_key(url)
        files = tuple(FileEntry(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in sorted(MODEL.items()))
        record = Record(url, name, "2026-01-01T00:00:00Z", Origin(f"{url}.tar.gz"), files)
        bodies = [entry(f"{name}/{file.path}", MODEL[file.path]) for file in files]
        parts.append((name, [entry(f"{name}.descriptor.txt", record.to_text("host").encode()), *bodies]))
    parts.sort()
    end = bytes(2 * BLOCK_BYTES)
    return [b"".join((*parts[0][1], end)), b"".join((*parts[0][1], *parts[1][1], end)), tar_of(member("a", b"x"))]


def _import(data: bytes, into: Path) -> None:
    os.environ["TFHUB_CACHE_DIR"] = str(into)
    import_(io.BytesIO(correct_checksums(data)))
    if not [name for name in os.listdir(into) if name.endswith(".descriptor.txt")]:
        raise ViolationError("a bundle was imported, but it has not got a record")


TARGETS = (
    Target(
        "tar",
        lambda data, into: _unpack(correct_checksums(data) if len(data) % 4 else data, into),
        _make_tars,
        (
            *(b"\0" + kind + b"\0" for kind in (b"0", b"1", b"2", b"5", b"x", b"g", b"L", b"S")),
            b"path=",
            b"size=",
            *fuzz.NUMBERS,
        ),
    ),
    Target("zip", _unpack, _make_zips, (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\7\x08", struct.pack("<Q", 1 << 63))),
    Target("streams", _decompress, _make_streams, (b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")),
    Target("bundles", _import, _make_bundles, (b'"files": [', b"size_bytes", b"../", b"saved_model.pb", b"2999-", b'"tree"')),
)
