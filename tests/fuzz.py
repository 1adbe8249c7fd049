"""Throws damaged archives at the unpacker until time is up: ``python -m tests.fuzz [--seconds N] [--seed N]``.

Each case is made from its own seed, which is printed where a promise is broken; ``--seed N --cases 1`` makes it again.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests import hostile
from tests.archives import MODEL, files_in, member, tar_of, zip_of
from tests.hostile import BLOCK_BYTES, Zipped, entry, gnu_long, gzipped, header, pax, tar, with_checksum, zipped
from tfimm_resolver.archives.extractor import CHUNK_BYTES, Limits
from tfimm_resolver.archives.unpacking import unpack
from tfimm_resolver.errors import ArchiveError, CacheError

HANG_S = 20
LIMITS = Limits(members=60, size_bytes=200_000)
NAMES = (b"a", b"../victim", b"/victim", b"a/../..", b"CON", b"A", b"a/", b"", b"\xff", b"\0", b"saved_model.pb", b"x" * 100)
NUMBERS = (
    b"\xff" * 12,
    b"\x80" + b"\0" * 11,
    b"\x80" + b"\xff" * 11,
    b"77777777777\0",
    b"00000000000\0",
    b"-0000000001\0",
    b" " * 12,
)
KINDS = b"01234567LKxgSVMNDA\0Z"
TAR_FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "size": (124, 12),
    "checksum": (148, 8),
    "kind": (156, 1),
    "link": (157, 100),
}
ZIP_FIELDS = {"flags": (6, 2), "method": (8, 2), "crc": (14, 4), "packed": (18, 4), "size": (22, 4), "name's length": (26, 2)}

Change = Callable[[random.Random, bytearray], None]


def _bits(chance: random.Random, data: bytearray) -> None:
    for _ in range(chance.choice((1, 1, 2, 8))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _bytes(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at : at + chance.choice((1, 2, 4, 8))] = chance.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * chance.choice(
        (1, 2, 4, 8)
    )


def _cut(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 7, 512, 1 << 20))]


def _splice(chance: random.Random, data: bytearray) -> None:
    other = chance.choice(seeds())
    start, at = chance.randrange(len(other)), chance.randrange(len(data))
    data[at:at] = other[start : start + chance.choice((10, 512, 5000))]


def _blocks(chance: random.Random, data: bytearray) -> None:
    """Some block is there twice, is gone, or stands elsewhere."""
    count = max(len(data) // BLOCK_BYTES, 1)
    one, other = (chance.randrange(count) * BLOCK_BYTES for _ in range(2))
    block = bytes(data[one : one + BLOCK_BYTES])
    if chance.random() < 0.5:
        del data[one : one + BLOCK_BYTES]
    data[other:other] = block


def _tar_field(chance: random.Random, data: bytearray) -> None:
    """A field of a header says something else, and the checksum is right."""
    starts = [at for at in range(0, len(data) - BLOCK_BYTES + 1, BLOCK_BYTES) if data[at + 257 : at + 262] == b"ustar"]
    if not starts:
        return _bits(chance, data)
    at, (offset, length) = chance.choice(starts), chance.choice([*TAR_FIELDS.values()])
    value = {1: bytes([chance.choice(KINDS)]), 12: chance.choice(NUMBERS)}.get(length, chance.choice(NAMES))
    data[at + offset : at + offset + length] = value[:length].ljust(length, b"\0")
    data[at : at + BLOCK_BYTES] = with_checksum(bytes(data[at : at + BLOCK_BYTES]))
    return None


def _zip_field(chance: random.Random, data: bytearray) -> None:
    """A field of a header, the directory or the end says something else; sometimes directory and header agree on it."""
    starts = {sign: _found(data, b"PK" + sign) for sign in (b"\3\4", b"\1\2", b"\5\6", b"\7\x08", b"\6\6", b"\6\7")}
    value = chance.choice(
        (0, 1, 8, 12, 0xFF, 0xFFFF, 0xFFFFFFFE, 0xFFFFFFFF, chance.randrange(1 << 31), len(data), (1 << 64) - 1)
    )
    pairs = list(zip(starts[b"\3\4"], starts[b"\1\2"], strict=False))
    if pairs and chance.random() < 0.5:
        offset, width = chance.choice([*ZIP_FIELDS.values()])
        places = [at + offset + more for at, more in zip(chance.choice(pairs), (0, 2), strict=True)]
    else:
        width = chance.choice((1, 2, 4, 8))
        places = [chance.choice([at for found in starts.values() for at in found] or [0]) + chance.randrange(4, 50)]
    for at in places:
        data[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")


def _found(data: bytearray, sign: bytes) -> list[int]:
    return [at for at in range(len(data)) if data.startswith(sign, at)]


def _zeros(chance: random.Random, data: bytearray) -> None:
    data += bytes(chance.choice((1, 512, 1024, 10_000)))


def _field(chance: random.Random, data: bytearray) -> None:
    (_zip_field if data[:2] == b"PK" else _tar_field)(chance, data)


CHANGES: tuple[Change, ...] = (_bits, _bytes, _cut, _splice, _blocks, _zeros, *(_field,) * 6)


def seeds() -> list[bytes]:
    """Valid archives, unpacked by gzip, and some of the corpus that are not."""
    if not _SEEDS:
        files = [member(name, data) for name, data in MODEL.items()]
        _SEEDS.extend(
            tar_of(member("d/", type=b"5"), *files, member("é" * 80, b"x" * 600), format=form) for form in range(3) if form
        )
        _SEEDS.append(
            tar(pax({"path": "d/x", "size": "5"}), header(b"y"), b"12345".ljust(512, b"\0"), gnu_long(b"d/z"), entry("z"))
        )
        _SEEDS.append(tar(entry("bomb", bytes(150_000)), entry("bomb2", bytes(60_000))))
        _SEEDS.append(zip_of())
        _SEEDS.append(zipped(hostile.described(), Zipped("d/"), Zipped("b", b"x" * 300, 0), comment=b"made by hand"))
        _SEEDS.append(zipped(Zipped("a", b"abc", central={"size": 0xFFFFFFFF, "extra": b"\1\0\x08\0\3" + bytes(7)})))
        _SEEDS.append(zipped(*(Zipped(f"{number}", b"x") for number in range(70))))
    return _SEEDS


_SEEDS: list[bytes] = []


def archive(seed: int) -> bytes:
    """The archive of one case."""
    chance = random.Random(seed)
    data = bytearray(chance.choice(seeds()))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 6))):
        if data:
            chance.choice(CHANGES)(chance, data)
    is_zip = data[:2] == b"PK"
    if not is_zip and chance.random() < 0.5:
        cut = chance.randrange(len(data) + 1) if chance.random() < 0.3 else len(data)
        data = bytearray(gzipped(bytes(data[:cut])) + (gzipped(bytes(data[cut:])) if cut < len(data) else b""))
        if chance.random() < 0.3:
            chance.choice((_bits, _bytes, _cut, _splice))(chance, data)
    return bytes(data)


class Pieces(io.BytesIO):
    """A stream that gives what it likes, as a network does, and never nothing before its end."""

    def __init__(self, data: bytes, seed: int) -> None:
        super().__init__(data)
        self._chance = random.Random(seed)

    def read(self, size: int | None = -1, /) -> bytes:
        most = size if size is not None and size >= 0 else 1 << 30
        return super().read(self._chance.randint(1, most) if most > 1 and self._chance.random() < 0.3 else most)


class HungError(Exception):
    """One case took too long; no OSError, which would be taken for the disk's."""


@dataclass
class Report:
    """What became of the cases."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


def case(seed: int, place: Path) -> Iterator[str]:
    """Unpack one archive in an empty directory; gives the outcome, then every promise that was broken."""
    into = place / "into"
    for folder in (into, place / "beside"):
        folder.mkdir(parents=True)
    (place / "victim").write_bytes(b"untouched")
    data = archive(seed)
    try:
        unpack(Pieces(data, seed), into, LIMITS, packed_bytes=len(data))
        yield "unpacked"
    except ArchiveError as error:
        yield "refused"
        if not (error.text.isprintable() and 0 < len(error.text) < 2000):
            yield f"the message is no line: {error.text[:100]!r}"
    except CacheError as error:
        yield "cache"
        yield f"a damaged archive passes for a broken disk: {error}"
    except Exception as error:
        yield "raised"
        yield f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-4)}"
    yield from broken(place)


def broken(place: Path) -> Iterator[str]:
    """Every promise that is broken in what lies about after a case."""
    into = place / "into"
    if sorted(os.listdir(place)) != ["beside", "into", "victim"] or os.listdir(place / "beside"):
        yield f"something lies outside: {os.listdir(place)}"
    if (place / "victim").read_bytes() != b"untouched":
        yield "another file was written"
    inside = [*into.rglob("*")]
    if any(path.is_symlink() or not (path.is_file() or path.is_dir()) or path.stat().st_mode & 0o7000 for path in inside):
        yield "something that is neither a file nor a directory was unpacked"
    if len(inside) > LIMITS.members + hostile.DEPTH_MAX:
        yield f"{len(inside)} files and directories, the limit being {LIMITS.members}"
    if sum(map(len, files_in(into).values())) > LIMITS.size_bytes + CHUNK_BYTES:
        yield "more was written than the limit"
    if any(path.name.startswith("tmp") for path in inside):
        yield f"a temporary file is left: {inside}"


def run(seed: int, *, seconds: float = 0, cases: int = 0) -> Report:
    """Case after case from a seed on, until time is up or so many were done, each in a directory of its own."""
    report, end_s = Report(), time.monotonic() + seconds

    def hung(_: int, __: FrameType | None) -> None:
        faulthandler.dump_traceback()
        raise HungError(f"nothing came of it within {HANG_S} s")

    before = signal.signal(signal.SIGALRM, hung)
    try:
        while report.cases < cases if cases else time.monotonic() < end_s:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # zipfile's, of names that are there twice
                signal.alarm(HANG_S)
                outcome, *faults = case(seed, Path(folder))
                signal.alarm(0)
            report.outcomes[outcome] += 1
            report.broken.extend(f"--seed {seed} --cases 1: {one}" for one in faults)
            report.cases, seed = report.cases + 1, seed + 1
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return report


def main(arguments: list[str] | None = None) -> int:
    """The command line; exits with 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=0)
    given = parser.parse_args(arguments)
    report = run(given.seed, seconds=given.seconds, cases=given.cases)
    sys.stdout.write(f"seed {given.seed}, {report.cases} cases: {dict(report.outcomes)}\n")
    for one in report.broken:
        sys.stdout.write(f"{one}\n")
    return bool(report.broken)


if __name__ == "__main__":
    sys.exit(main())
