"""Reads the index of a TensorFlow checkpoint without TensorFlow, whose own reader ends the process for a broken one.

The index is a table of LevelDB (github.com/google/leveldb, doc/table_format.md) without compression. Its keys are names of
tensors, its values the messages of tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import WeightsError
from tfimm_resolver.saved_model import wire
from tfimm_resolver.saved_model.wire import BYTES, FIXED32, VARINT, WireError

INDEX_BYTES_MAX = 64 << 20
"""Limit on the size of an index; that of a model with 100,000 variables has about 10 MB."""

KEYS_BYTES_MAX = 128 << 20
"""Limit on all names together: each may repeat the beginning of the one before without storing it."""

_FOOTER_BYTES, _TRAILER_BYTES, _RESTART_BYTES = 48, 5, 4
_CHECKSUM_BYTES = 1 << 20
_MAGIC = 0xDB4775248B80FB57
_DIMENSIONS_MAX = 254  # tensorflow/core/framework/tensor_shape.h


class TensorEntry(NamedTuple):
    """What the index says of one tensor.

    Attributes:
        dtype: the number of its type in tensorflow/core/framework/types.proto.
        shape: its dimensions.
        shard: the number of the data file.
        offset: where its bytes begin in that file.
        size_bytes: how many there are.
        crc32c: their masked checksum.
        slices: if its bytes are stored as several tensors, the beginning and length of each in each dimension.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int = 0
    offset: int = 0
    size_bytes: int = 0
    crc32c: int = 0
    slices: tuple[tuple[tuple[int, int], ...], ...] = ()


class CheckpointIndex(NamedTuple):
    """The content of an index: the number of data files, and the tensors by name; names of slices are not text."""

    shards: int
    tensors: dict[bytes, TensorEntry]


def read_index(path: str) -> CheckpointIndex:
    """Return the content of an index file.

    Raises:
        WeightsError: if it is damaged, not an index, or too large.
        OSError: if it cannot be read.
    """
    data = fs.read_regular(path, INDEX_BYTES_MAX, follow=True)
    try:
        entries = dict(_iterate_table(data))
        header = entries.pop(b"", None)
        if header is None:
            raise WireError("it has no header")
        shards = _parse_header(header)
        return CheckpointIndex(shards, {key: _parse_entry(value, shards) for key, value in entries.items()})
    except WireError as error:
        raise WeightsError(
            f"{show(path)} is not the index of a TensorFlow checkpoint, or is damaged: {show(error)}"
        ) from error


def unmask_crc32c(masked: int) -> int:
    """Return the checksum that a stored one stands for (tsl/lib/hash/crc32c.h)."""
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17) | (rotated << 15) & 0xFFFFFFFF


def _iterate_table(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the keys, in ascending order, and the values of a table."""
    footer = data[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise WireError("its end is missing")
    _, position = _read_handle(footer, 0)  # of a block without a use here
    index_handle, _ = _read_handle(footer, position)
    last, keys_bytes = None, 0
    for after, handle in _iterate_block(_read_block(data, index_handle)):
        keys_bytes += len(after)
        for key, value in _iterate_block(_read_block(data, _read_handle(handle, 0)[0])):
            keys_bytes += len(key)
            if last is not None and key <= last:
                raise WireError("its names are not in order")
            if keys_bytes > KEYS_BYTES_MAX:
                raise WireError(f"its names have over {KEYS_BYTES_MAX} bytes")
            last = key
            yield key, value


def _read_handle(data: bytes | memoryview, position: int) -> tuple[tuple[int, int], int]:
    """Return the offset and size of a block, and the position after them."""
    offset, position = wire.read_varint(data, position)
    size_bytes, position = wire.read_varint(data, position)
    return (offset, size_bytes), position


def _read_block(data: bytes, handle: tuple[int, int]) -> memoryview:
    """Return the entries of a block, without the list of restarts after them; verifies the block's checksum."""
    offset, size_bytes = handle
    end = offset + size_bytes + _TRAILER_BYTES
    if end > len(data) - _FOOTER_BYTES:
        raise WireError(f"a block of {size_bytes} bytes at {offset} is outside of it")
    block, stored = memoryview(data)[offset : end - 4], int.from_bytes(data[end - 4 : end], "little")
    if compute_crc32c(block) != unmask_crc32c(stored):
        raise WireError(f"the checksum of the block at {offset} is wrong")
    if block[-1]:
        raise WireError("it is compressed, which TensorFlow never does")
    content = block[:-1]
    restarts = int.from_bytes(content[-_RESTART_BYTES:], "little")
    end = len(content) - _RESTART_BYTES * (restarts + 1)
    if len(content) < _RESTART_BYTES or end < 0:
        raise WireError("a block is too short")
    return content[:end]


def compute_crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C of the data."""
    import google_crc32c

    value = 0
    for start in range(0, len(data), _CHECKSUM_BYTES):  # it takes nothing but bytes, and so a copy
        value = google_crc32c.extend(value, bytes(data[start : start + _CHECKSUM_BYTES]))
    return value


def _iterate_block(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    position, key = 0, b""
    while position < len(block):
        shared, position = wire.read_varint(block, position)
        own, position = wire.read_varint(block, position)
        size_bytes, position = wire.read_varint(block, position)
        end = position + own + size_bytes
        if shared > len(key) or end > len(block):
            raise WireError("an entry is outside of its block")
        key = key[:shared] + bytes(block[position : position + own])
        yield key, block[position + own : end]
        position = end


def _parse_header(data: memoryview) -> int:
    """Return the number of data files."""
    fields = _read_numbers(data)
    if fields.get(2):
        raise WireError("it was written on a big-endian machine")
    if not 0 < (shards := fields.get(1, 0)) < 100_000:
        raise WireError(f"it would have {shards} data files")
    return shards


def _parse_entry(data: memoryview, shards: int) -> TensorEntry:
    numbers = dict[int, int]()
    shape: tuple[int, ...] = ()
    slices = []
    for number, kind, start, stop in wire.iterate_spans(data, 0, len(data)):
        if kind in (VARINT, FIXED32):
            numbers[number] = wire.read_number(data, kind, start, stop)
        elif number == 2 and kind == BYTES:
            shape = _parse_shape(data[start:stop])
        elif number == 7 and kind == BYTES:
            slices.append(_parse_slice(data[start:stop]))
    shard = numbers.get(3, 0)
    if shard >= shards:
        raise WireError(f"a tensor is in the data file {shard} of {shards}")
    get = numbers.get
    return TensorEntry(get(1, 0), shape, shard, get(4, 0), get(5, 0), get(6, 0), tuple(slices))


def _read_numbers(data: memoryview) -> dict[int, int]:
    fields = wire.iterate_fields(data)
    return {number: value for number, kind, value in fields if kind in (VARINT, FIXED32) and isinstance(value, int)}


def _parse_shape(data: memoryview) -> tuple[int, ...]:
    sizes = []
    for number, kind, start, stop in wire.iterate_spans(data, 0, len(data)):
        if number == 2 and kind == BYTES:
            sizes.append(wire.to_signed(_read_numbers(data[start:stop]).get(1, 0)))
        elif number == 3 and kind == VARINT and wire.read_number(data, kind, start, stop):
            raise WireError("the shape of a tensor is not known")
    if len(sizes) > _DIMENSIONS_MAX or any(size < 0 for size in sizes):
        raise WireError("a tensor has a shape that is not possible")
    return tuple(sizes)


def _parse_slice(data: memoryview) -> tuple[tuple[int, int], ...]:
    """Return the beginning and the length in each dimension; a length of -1 is all of it."""
    extents = []
    for number, kind, value in wire.iterate_fields(data):
        if number == 1 and kind == BYTES and isinstance(value, memoryview):
            numbers = _read_numbers(value)
            extents.append((wire.to_signed(numbers.get(1, 0)), wire.to_signed(numbers[2]) if 2 in numbers else -1))
    return tuple(extents)
