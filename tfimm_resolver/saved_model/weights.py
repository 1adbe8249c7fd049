"""Describes the weights of a SavedModel by the index of its checkpoint alone; the data files are only measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from tfimm_resolver.saved_model.checkpoint import encode_slice_key
from tfimm_resolver.saved_model.checkpoint_index import CheckpointIndex, TensorEntry, unmask_crc32c
from tfimm_resolver.saved_model.shapes import get_dtype_name

_NOT_NUMBERS = {7, 20, 21}
"""The types string, resource and variant."""

_DUPLICATES_MIN_BYTES = 4096
"""Smaller tensors are often equal by chance."""

_DUPLICATES_MAX = 1000
"""How many groups of equal tensors are looked at, the largest first: each takes 0.1 ms."""

_SLOT = b"/.OPTIMIZER_SLOT/"
_POLYNOMIAL = 0x82F63B78  # of CRC-32C, its bits in reverse order


@dataclass(frozen=True, slots=True)
class WeightTensor:
    """A tensor of the weights.

    Attributes:
        name: its name in the checkpoint.
        dtype: the name of its type.
        shape: its dimensions.
        size_bytes: the bytes that it has in the data files.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of a model, as the index of its checkpoint lists them.

    Attributes:
        tensors: the largest first; without texts, and other values that are not numbers.
        shards: how many data files there are.
        size_bytes: of all tensors.
        parameters: the numbers in all tensors, also those that an optimizer keeps.
        duplicate_bytes: how much of them is stored more than once: tensors with the same shape, type and checksum.
    """

    tensors: tuple[WeightTensor, ...]
    shards: int
    size_bytes: int
    parameters: int
    duplicate_bytes: int


def describe_weights(index: CheckpointIndex) -> Weights:
    """Return the weights that an index lists."""
    tensors, own = [], {}
    for key, entry in index.tensors.items():
        if entry.dtype not in _NOT_NUMBERS and not key.startswith(b"\0"):  # which begins the key of a slice
            own[key] = entry
            name = key.decode("utf-8", "backslashreplace")
            tensors.append(WeightTensor(name, get_dtype_name(entry.dtype), entry.shape, _measure(index, key, entry)))
    tensors.sort(key=lambda tensor: (-tensor.size_bytes, tensor.name))
    return Weights(
        tensors=tuple(tensors),
        shards=index.shards,
        size_bytes=sum(tensor.size_bytes for tensor in tensors),
        parameters=sum(prod(tensor.shape) for tensor in tensors),
        duplicate_bytes=_count_duplicate_bytes(own),
    )


def _measure(index: CheckpointIndex, key: bytes, entry: TensorEntry) -> int:
    """Return the bytes of a tensor, which may be stored as slices."""
    parts = (index.tensors.get(encode_slice_key(key, extents)) for extents in entry.slices)
    return entry.size_bytes + sum(part.size_bytes for part in parts if part is not None)


def _count_duplicate_bytes(entries: Mapping[bytes, TensorEntry]) -> int:
    """Return the bytes of tensors that equal another one; what begins as zeros, such as an optimizer's slots, is not meant."""
    sizes: dict[tuple[int, tuple[int, ...], int, int], int] = {}
    for key, entry in entries.items():
        if entry.size_bytes >= _DUPLICATES_MIN_BYTES and _SLOT not in key:
            same = entry.dtype, entry.shape, entry.size_bytes, entry.crc32c
            sizes[same] = sizes.get(same, 0) + 1
    repeated = [(size_bytes, crc32c, count) for (_, _, size_bytes, crc32c), count in sizes.items() if count > 1]
    largest = sorted(repeated, reverse=True)[:_DUPLICATES_MAX]
    return sum(
        (count - 1) * size_bytes for size_bytes, crc32c, count in largest if unmask_crc32c(crc32c) != hash_zeros(size_bytes)
    )


def hash_zeros(size_bytes: int) -> int:
    """Return the CRC-32C of so many zeros, without them: their effect on a checksum is a multiplication by x^(8 * size)."""
    factor, power = 1 << 31, 1 << 30  # 1 and x, whose bits are in reverse order
    for _ in range(3):
        power = _multiply(power, power)
    while size_bytes:
        if size_bytes & 1:
            factor = _multiply(factor, power)
        power, size_bytes = _multiply(power, power), size_bytes >> 1
    return _multiply(factor, 0xFFFFFFFF) ^ 0xFFFFFFFF


def _multiply(first: int, second: int) -> int:
    """Return the product of two polynomials modulo that of CRC-32C."""
    product = 0
    for bit in range(31, -1, -1):
        if first >> bit & 1:
            product ^= second
        second = second >> 1 ^ (_POLYNOMIAL if second & 1 else 0)
    return product
