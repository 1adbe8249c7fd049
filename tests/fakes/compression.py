"""Compresses bytes in each format, also as rare or broken programs do."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_FOOTER_BYTES, _HEADER_BYTES = 12, 12


def compress_zstd(data: bytes, *, has_checksum: bool = True) -> bytes:
    """Compress as the command does, with a checksum, or as libraries do by default, without one."""
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: int(has_checksum)})


def compress_lzma(data: bytes) -> bytes:
    """Compress as a .lzma file, which holds no checksum."""
    return lzma.compress(data, format=lzma.FORMAT_ALONE, preset=0)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": compress_zstd,
}
"""Formats with a checksum over all bytes of a stream, by the names of ``archives.formats``."""

WITHOUT_CHECKSUM: dict[str, Callable[[bytes], bytes]] = {
    "lzma": compress_lzma,
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_NONE),
    "zstd": lambda data: compress_zstd(data, has_checksum=False),
}


def make_skippable(data: bytes = b"") -> bytes:
    """Build a frame of zstd that holds no data, as pzstd writes them."""
    return b"\x50\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


def make_xz_of_blocks(*blocks: bytes) -> bytes:
    """Compress to one xz stream of several blocks, each with a checksum of its own, as ``xz --threads`` does."""
    streams = [lzma.compress(block, preset=0) for block in blocks]
    bodies = [one[_HEADER_BYTES : len(one) - _FOOTER_BYTES - _get_index_bytes(one)] for one in streams]
    records = b"".join(_find_record(one) for one in streams)
    index = b"\0" + _encode_number(len(blocks)) + records
    index += bytes(-len(index) % 4)
    index += zlib.crc32(index).to_bytes(4, "little")
    rest = (len(index) // 4 - 1).to_bytes(4, "little") + streams[0][6:8]
    return streams[0][:_HEADER_BYTES] + b"".join(bodies) + index + zlib.crc32(rest).to_bytes(4, "little") + rest + b"YZ"


def _get_index_bytes(stream: bytes) -> int:
    return 4 * (int.from_bytes(stream[-8:-4], "little") + 1)


def _find_record(stream: bytes) -> bytes:
    """Return the one record of an index: two numbers, of which only the last byte is below 128."""
    index = stream[-_FOOTER_BYTES - _get_index_bytes(stream) :][2:]
    ends = [at for at, byte in enumerate(index) if byte < 128]
    return index[: ends[1] + 1]


def _encode_number(number: int) -> bytes:
    out = b""
    while number >= 128:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def make_demanding_stream(form: str, log_bytes: int, data: bytes = bytes(600)) -> bytes:
    """Build a stream whose decoder needs ``2 ** log_bytes`` bytes of memory."""
    if form == "zstd":  # RFC 8878, 3.1.1: no checksum, a window, one raw block
        return b"\x28\xb5\x2f\xfd\x00" + bytes([(log_bytes - 10) << 3]) + (len(data) << 3 | 1).to_bytes(3, "little") + data
    if form == "lzma":
        packed = compress_lzma(data)
        return packed[:1] + (1 << log_bytes).to_bytes(4, "little") + packed[5:]
    packed = lzma.compress(data)
    header_bytes = 4 * (packed[_HEADER_BYTES] + 1)
    header = bytearray(packed[_HEADER_BYTES : _HEADER_BYTES + header_bytes])
    at = header.index(b"\x21\x01") + 2
    header[at] = 2 * (log_bytes - 12)
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    return packed[:_HEADER_BYTES] + bytes(header) + packed[_HEADER_BYTES + header_bytes :]
