"""Writes TensorFlow checkpoints, valid and not, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import google_crc32c

MAGIC = 0xDB4775248B80FB57
Fields = Iterable[tuple[int, "int | bytes"]]


def encode_varint(number: int) -> bytes:
    """Encode a number, which may be negative, as protocol buffers do."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def encode_message(fields: Fields) -> bytes:
    """Encode the fields of a message: numbers as varints, bytes with their length."""
    out = b""
    for number, value in fields:
        if isinstance(value, bytes):
            out += encode_varint(number << 3 | 2) + encode_varint(len(value)) + value
        else:
            out += encode_varint(number << 3) + encode_varint(value)
    return out


def mask_crc32c(data: bytes) -> int:
    """Return the checksum as TensorFlow stores it."""
    value = google_crc32c.value(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def make_entry(
    dtype: int, shape: Iterable[int], data: bytes, *, offset: int = 0, shard: int = 0, size_bytes: int | None = None
) -> bytes:
    """Return the entry of a tensor that has these bytes at an offset of a data file."""
    dimensions = encode_message((2, encode_message([(1, size)])) for size in shape)
    fields: list[tuple[int, int | bytes]] = [(1, dtype), (2, dimensions), (3, shard), (4, offset)]
    fields.append((5, len(data) if size_bytes is None else size_bytes))
    return encode_message(fields) + encode_varint(6 << 3 | 5) + mask_crc32c(data).to_bytes(4, "little")


def make_block(entries: Iterable[tuple[int, bytes, bytes]], *, kind: int = 0) -> bytes:
    """Return a block of entries: the shared length with the key before, the rest of the key, and the value."""
    content = b"".join(
        encode_varint(shared) + encode_varint(len(key)) + encode_varint(len(value)) + key + value
        for shared, key, value in entries
    )
    content += bytes(4) + (1).to_bytes(4, "little") + bytes([kind])
    return content + mask_crc32c(content).to_bytes(4, "little")


def make_table(blocks: Iterable[bytes]) -> bytes:
    """Return a table of blocks."""
    out, handles = b"", []
    for number, block in enumerate(blocks):
        handles.append((0, b"%08d" % number, encode_varint(len(out)) + encode_varint(len(block) - 5)))
        out += block
    for last in (make_block([]), make_block(handles)):
        handles.append((0, b"", encode_varint(len(out)) + encode_varint(len(last) - 5)))
        out += last
    footer = handles[-2][2] + handles[-1][2]
    return out + footer + bytes(40 - len(footer)) + MAGIC.to_bytes(8, "little")


def make_header(shards: int = 1, endianness: int = 0) -> bytes:
    """Return the header of an index."""
    return encode_message([(1, shards), (2, endianness)])


def make_index(entries: Mapping[bytes, bytes], *, header: bytes | None = None) -> bytes:
    """Return an index of entries, each stored in full."""
    all_entries = {b"": make_header() if header is None else header, **entries}
    return make_table([make_block((0, key, all_entries[key]) for key in sorted(all_entries))])


def write_checkpoint(prefix: Path, entries: Mapping[bytes, bytes], data: bytes) -> str:
    """Write a checkpoint of one data file; returns its prefix."""
    Path(f"{prefix}.index").write_bytes(make_index(entries))
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
    return str(prefix)
