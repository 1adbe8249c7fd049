"""Reads the tensors of a TensorFlow checkpoint as numpy arrays, without TensorFlow, in no more memory than its files have."""

from __future__ import annotations

import io
import os
import re
from math import prod
from typing import TYPE_CHECKING, Any

from tfimm_resolver._util import fs
from tfimm_resolver._util.dtypes import get_dtype
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import WeightsError
from tfimm_resolver.saved_model.checkpoint_index import (
    CheckpointIndex,
    TensorEntry,
    compute_crc32c,
    read_index,
    unmask_crc32c,
)

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

DTYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    8: "<c8",
    9: "<i8",
    10: "?",
    11: "i1",
    12: "u1",
    13: "<i4",
    14: "bfloat16",
    15: "<i2",
    16: "<u2",
    17: "<u2",
    18: "<c16",
    19: "<f2",
    22: "<u4",
    23: "<u8",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
}
"""The types of numbers in tensorflow/core/framework/types.proto; quantized ones are read as what they are stored as."""

SHARED_BYTES_MAX = 64 << 20
"""Limit on the bytes of one data file that are read again, for another tensor: a small file could fill any memory."""

_FULL_EXTENT = -1
_SIGNED_HEADERS = (0, 0x8000, 0xC000, 0xE000, 0xF000, 0xF800, 0xFC00, 0xFE00, 0xFF00, 0xFF80, 0xFFC0)


def read_tensors(prefix: str) -> dict[str, Array]:
    """Return the tensors of numbers of a checkpoint by name, in order; texts and other objects are left out.

    Args:
        prefix: the path of the index without ``.index``.

    Raises:
        WeightsError: if the checkpoint is damaged or incomplete.
        OSError: if a file cannot be read.
    """
    index = read_index(f"{prefix}.index")
    with _DataFiles(prefix, index.shards) as files:
        arrays = {}
        for key, entry in index.tensors.items():
            if entry.dtype in DTYPES and not key.startswith(b"\0"):  # which begins the key of a slice
                name = key.decode("utf-8", "backslashreplace")
                arrays[name] = _read_tensor(files, index, key, entry)
    return arrays


def encode_slice_key(name: bytes, extents: tuple[tuple[int, int], ...]) -> bytes:
    """Return the key of a slice of a tensor; ``extents`` are its beginning and length in each dimension.

    TensorFlow has it in core/util/saved_tensor_slice_util.cc, and the numbers in core/lib/strings/ordered_code.cc.
    """
    escaped = re.sub(rb"[\0\xff]", lambda found: found[0] + bytes([255 - found[0][0]]), name)
    numbers = b"".join(_encode_signed(number) for extent in extents for number in extent)
    return b"\0" + escaped + b"\0\1" + _encode_unsigned(len(extents)) + numbers


def _encode_unsigned(number: int) -> bytes:
    digits = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes([len(digits)]) + digits


def _encode_signed(number: int) -> bytes:
    bits = (~number if number < 0 else number).bit_length()
    size_bytes = min(bits // 7 + 1, 10)
    header = _SIGNED_HEADERS[size_bytes].to_bytes(2, "big")
    digits = bytearray((number & (1 << 80) - 1).to_bytes(10, "big")[-size_bytes:])
    for position, mask in enumerate(header[:size_bytes]):
        digits[position] ^= mask
    return bytes(digits)


class _DataFiles:
    """The data files of a checkpoint, opened when they are needed."""

    def __init__(self, prefix: str, shards: int) -> None:
        self._prefix, self._shards = prefix, shards
        self._open: dict[int, io.FileIO] = {}
        self._left_bytes: dict[int, int] = {}

    def __enter__(self) -> _DataFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def find(self, entry: TensorEntry) -> io.FileIO:
        """Return the file of a tensor, after checking that it has all of the tensor's bytes."""
        if entry.shard not in self._open:
            path = f"{self._prefix}.data-{entry.shard:05}-of-{self._shards:05}"
            self._open[entry.shard] = io.FileIO(path, opener=fs.open_regular_target)
            self._left_bytes[entry.shard] = os.fstat(self._open[entry.shard].fileno()).st_size
        file = self._open[entry.shard]
        if entry.offset + entry.size_bytes > os.fstat(file.fileno()).st_size:
            raise WeightsError(f"{show(file.name)} is truncated: a tensor ends at byte {entry.offset + entry.size_bytes}")
        return file

    def read(self, entry: TensorEntry) -> bytearray:
        """Return the bytes of a tensor, after comparing its checksum."""
        file = self.find(entry)
        self._left_bytes[entry.shard] -= entry.size_bytes
        if self._left_bytes[entry.shard] < -SHARED_BYTES_MAX:  # before memory is allocated: such a file could fill any
            raise WeightsError(f"{show(file.name)} is damaged: its tensors would share over {SHARED_BYTES_MAX} bytes")
        data, position = bytearray(entry.size_bytes), 0
        file.seek(entry.offset)
        with memoryview(data) as view:
            while count := file.readinto(view[position:]):
                position += count
            if position < entry.size_bytes:
                raise WeightsError(f"{show(file.name)} became shorter while it was read")
            if compute_crc32c(view) != unmask_crc32c(entry.crc32c):
                raise WeightsError(f"{show(file.name)} is damaged: the checksum of a tensor is wrong")
        return data


def _read_tensor(files: _DataFiles, index: CheckpointIndex, key: bytes, entry: TensorEntry) -> Array:
    import numpy as np

    name, kind = key.decode("utf-8", "backslashreplace"), get_dtype(DTYPES[entry.dtype])
    parts = [(extents, _find_slice(index, key, entry, extents)) for extents in entry.slices]
    size_bytes = sum(part.size_bytes for _, part in parts) if parts else entry.size_bytes
    if size_bytes != prod(entry.shape) * kind.itemsize:
        raise WeightsError(f"{show(name)} has {size_bytes} bytes, which is not the size of its shape {entry.shape}")
    if not parts:
        return np.frombuffer(files.read(entry), kind).reshape(entry.shape)
    for _, part in parts:
        files.find(part)  # before memory is allocated
    array = np.zeros(entry.shape, kind)
    for extents, part in parts:
        where = tuple(slice(None) if length == _FULL_EXTENT else slice(start, start + length) for start, length in extents)
        array[where] = _read_tensor(files, index, key, part)
    return array


def _find_slice(index: CheckpointIndex, key: bytes, entry: TensorEntry, extents: tuple[tuple[int, int], ...]) -> TensorEntry:
    """Return the entry of a slice, after checking that it lies inside of its tensor and is not sliced itself."""
    part, expected, is_inside = index.tensors.get(encode_slice_key(key, extents)), [], len(extents) == len(entry.shape)
    for size, (start, length) in zip(entry.shape, extents, strict=False):
        expected.append(size if length == _FULL_EXTENT else length)
        is_inside = is_inside and (length == _FULL_EXTENT or 0 <= start <= start + length <= size)
    if part is None or part.slices or (part.dtype, part.shape) != (entry.dtype, tuple(expected)) or not is_inside:
        raise WeightsError(f"a slice of {show(key.decode('utf-8', 'backslashreplace'))} is missing or does not fit")
    return part
