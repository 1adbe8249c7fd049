"""Changes inputs at random: bits, bytes, cuts, copies, splices with another seed, numbers and tokens."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

SIZE_MAX = 1 << 18

_NUMBER = re.compile(rb"\d+")
_NUMBERS = (
    *(b"0", b"-1", b"1", b"255", b"256", b"65535", b"2147483647", b"4294967295", b"9223372036854775807"),
    *(b"18446744073709551616", b"1e999", b"1.5", b"true", b"9" * 400, b"\xd9\xa1"),
)
_BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\n", b'"', b"\\", b"/", b"..", b"\xe2\x80\xae", b"\xf0\x9f\x98\x80", b"[" * 200)

Change = Callable[[random.Random, bytearray, Sequence[bytes], Sequence[bytes]], None]


def _flip_bits(rng: random.Random, data: bytearray, _: Sequence[bytes], __: Sequence[bytes]) -> None:
    for _number in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite(rng: random.Random, data: bytearray, _: Sequence[bytes], __: Sequence[bytes]) -> None:
    at, count = rng.randrange(len(data)), rng.choice((1, 2, 4, 8))
    data[at : at + count] = rng.choice(_BYTES) * count


def _cut(rng: random.Random, data: bytearray, _: Sequence[bytes], __: Sequence[bytes]) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 7, 64, 512, 1 << 20))]


def _copy(rng: random.Random, data: bytearray, _: Sequence[bytes], __: Sequence[bytes]) -> None:
    start, at = rng.randrange(len(data)), rng.randrange(len(data))
    data[at:at] = data[start : start + rng.choice((4, 30, 512))] * rng.choice((1, 1, 2, 50))


def _splice(rng: random.Random, data: bytearray, seeds: Sequence[bytes], _: Sequence[bytes]) -> None:
    other = rng.choice(seeds) or b"x"
    start, at = rng.randrange(len(other)), rng.randrange(len(data))
    data[at:at] = other[start : start + rng.choice((10, 100, 5000))]


def _set_number(rng: random.Random, data: bytearray, _: Sequence[bytes], __: Sequence[bytes]) -> None:
    """Replace a number that is written as text."""
    found = [*_NUMBER.finditer(data[:5000])]
    if found:
        one = rng.choice(found)
        data[one.start() : one.end()] = rng.choice(_NUMBERS)


def _insert_token(rng: random.Random, data: bytearray, _: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.choice(tokens or _BYTES) * rng.choice((1, 1, 1, 2, 300))


def _swap_token(rng: random.Random, data: bytearray, _: Sequence[bytes], tokens: Sequence[bytes]) -> None:
    """Replace a token by another one."""
    there = [token for token in tokens if token in data]
    if there:
        old = rng.choice(there)
        positions = [found.start() for found in re.finditer(re.escape(old), data)]
        at = rng.choice(positions)
        data[at : at + len(old)] = rng.choice([*tokens, b""])


CHANGES: tuple[Change, ...] = (
    _flip_bits,
    _overwrite,
    _cut,
    _copy,
    _splice,
    *(_set_number, _insert_token, _swap_token) * 2,
)


def mutate(seed: int, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """Return the input of a case; a seed always makes the same one."""
    rng = random.Random(seed)
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
        if data:
            rng.choice(CHANGES)(rng, data, seeds, tokens)
    return bytes(data[:SIZE_MAX])
