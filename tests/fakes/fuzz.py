"""Unpacks randomly damaged archives until the time is up: ``python -m tests.fakes.fuzz [--seconds N] [--seed N]``.

Each case is generated from its own seed, which is printed with a violation; ``--seed N --cases 1`` repeats it.
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

from tests.fakes import hostile, zips
from tests.fakes.archives import MODEL, files_in, member, tar_of, zip_of
from tests.fakes.compression import COMPRESSORS
from tests.fakes.hostile import BLOCK_BYTES, ZipMember, entry, gnu_long, header, make_zip, pax, set_checksum, tar
from tfimm_resolver.archives.budget import Limits
from tfimm_resolver.archives.extractor import CHUNK_BYTES
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


def _flip_bits(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite_bytes(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    data[at : at + rng.choice((1, 2, 4, 8))] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * rng.choice((1, 2, 4, 8))


def _cut(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 7, 512, 1 << 20))]


def _splice(rng: random.Random, data: bytearray) -> None:
    other = rng.choice(make_seeds())
    start, at = rng.randrange(len(other)), rng.randrange(len(data))
    data[at:at] = other[start : start + rng.choice((10, 512, 5000))]


def _move_block(rng: random.Random, data: bytearray) -> None:
    """Duplicate or move a block."""
    count = max(len(data) // BLOCK_BYTES, 1)
    one, other = (rng.randrange(count) * BLOCK_BYTES for _ in range(2))
    block = bytes(data[one : one + BLOCK_BYTES])
    if rng.random() < 0.5:
        del data[one : one + BLOCK_BYTES]
    data[other:other] = block


def _set_tar_field(rng: random.Random, data: bytearray) -> None:
    """Change a field of a tar header, and correct the checksum."""
    starts = [at for at in range(0, len(data) - BLOCK_BYTES + 1, BLOCK_BYTES) if data[at + 257 : at + 262] == b"ustar"]
    if not starts:
        return _flip_bits(rng, data)
    at, (offset, length) = rng.choice(starts), rng.choice([*TAR_FIELDS.values()])
    value = {1: bytes([rng.choice(KINDS)]), 12: rng.choice(NUMBERS)}.get(length, rng.choice(NAMES))
    data[at + offset : at + offset + length] = value[:length].ljust(length, b"\0")
    data[at : at + BLOCK_BYTES] = set_checksum(bytes(data[at : at + BLOCK_BYTES]))
    return None


def _set_zip_field(rng: random.Random, data: bytearray) -> None:
    """Change a field of a header, the directory or the end of a zip; sometimes in header and directory alike."""
    starts = {sign: _find_all(data, b"PK" + sign) for sign in (b"\3\4", b"\1\2", b"\5\6", b"\7\x08", b"\6\6", b"\6\7")}
    value = rng.choice((0, 1, 8, 12, 0xFF, 0xFFFF, 0xFFFFFFFE, 0xFFFFFFFF, rng.randrange(1 << 31), len(data), (1 << 64) - 1))
    pairs = list(zip(starts[b"\3\4"], starts[b"\1\2"], strict=False))
    if pairs and rng.random() < 0.5:
        offset, width = rng.choice([*ZIP_FIELDS.values()])
        offsets = [at + offset + more for at, more in zip(rng.choice(pairs), (0, 2), strict=True)]
    else:
        width = rng.choice((1, 2, 4, 8))
        offsets = [rng.choice([at for found in starts.values() for at in found] or [0]) + rng.randrange(4, 50)]
    for at in offsets:
        data[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")


def _find_all(data: bytearray, sign: bytes) -> list[int]:
    return [at for at in range(len(data)) if data.startswith(sign, at)]


def _append_zeros(rng: random.Random, data: bytearray) -> None:
    data += bytes(rng.choice((1, 512, 1024, 10_000)))


def _set_field(rng: random.Random, data: bytearray) -> None:
    (_set_zip_field if b"PK" in data[:100] else _set_tar_field)(rng, data)


CHANGES: tuple[Change, ...] = (_flip_bits, _overwrite_bytes, _cut, _splice, _move_block, _append_zeros, *(_set_field,) * 6)


def make_seeds() -> list[bytes]:
    """Return valid archives, not gzipped, and some of the corpus that are not valid."""
    if not _SEEDS:
        files = [member(name, data) for name, data in MODEL.items()]
        _SEEDS.extend(
            tar_of(member("d/", type=b"5"), *files, member("é" * 80, b"x" * 600), format=form) for form in range(3) if form
        )
        _SEEDS.append(
            tar(pax({"path": "d/x", "size": "5"}), header(b"y"), b"12345".ljust(512, b"\0"), gnu_long(b"d/z"), entry("z"))
        )
        _SEEDS.append(tar(entry("bomb", bytes(150_000)), entry("bomb2", bytes(60_000))))
        links = [member(f"l{kind}", type=b"%d" % kind, linkname="d/x") for kind in (1, 2)]
        _SEEDS.append(tar_of(*links, member("d/x", b"x" * 700), member("m", type=b"2", linkname="l1"), format=1))
        _SEEDS.append(tar(hostile.old_sparse(9000, [(512, 512), (4096, 88)], b"x" * 600), entry("z", b"z")))
        _SEEDS.append(tar(hostile.pax_sparse({"size": "9", "numblocks": "1", "map": "2,3"}, b"xyz"), entry("z", b"z")))
        sparse = {"major": "1", "minor": "0", "realsize": "900"}
        _SEEDS.append(tar(hostile.pax_sparse(sparse, hostile.pad_to_block(b"1\n100\n3\n") + b"xyz"), entry("z", b"z")))
        _SEEDS.append(zip_of())
        _SEEDS.append(make_zip(*(zips.make_member(f"d/{method}", b"x" * 300, method) for method in zips.METHODS.values())))
        link = ZipMember("d/l", b"../a", mode=0o120777)
        _SEEDS.append(zips.STUB + make_zip(ZipMember("a", b"abc"), link, ZipMember("é".encode(), b"x", flags=0)))
        _SEEDS.append(make_zip(zips.make_member("d\\x", b"x", zips.LZMA), zips.make_member("d\\", b"", zips.STORED)))
        _SEEDS.append(
            make_zip(
                hostile.make_member_with_descriptor(), ZipMember("d/"), ZipMember("b", b"x" * 300, 0), comment=b"made by hand"
            )
        )
        _SEEDS.append(make_zip(ZipMember("a", b"abc", central={"size": 0xFFFFFFFF, "extra": b"\1\0\x08\0\3" + bytes(7)})))
        _SEEDS.append(make_zip(*(ZipMember(f"{number}", b"x") for number in range(70))))
    return _SEEDS


_SEEDS: list[bytes] = []


def make_archive(seed: int) -> bytes:
    """Generate the archive of one case."""
    rng = random.Random(seed)
    data = bytearray(rng.choice(make_seeds()))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
        if data:
            rng.choice(CHANGES)(rng, data)
    is_zip = b"PK" in data[:100]
    if not is_zip and rng.random() < 0.5:
        cut = rng.randrange(len(data) + 1) if rng.random() < 0.3 else len(data)
        compress = rng.choice([*COMPRESSORS.values()])
        data = bytearray(compress(bytes(data[:cut])) + (compress(bytes(data[cut:])) if cut < len(data) else b""))
        if rng.random() < 0.3:
            rng.choice((_flip_bits, _overwrite_bytes, _cut, _splice))(rng, data)
    return bytes(data)


class ChunkedStream(io.BytesIO):
    """A stream that returns chunks of random length, as a network does, and an empty one only at its end."""

    def __init__(self, data: bytes, seed: int) -> None:
        super().__init__(data)
        self._rng = random.Random(seed)

    def read(self, size: int | None = -1, /) -> bytes:
        most = size if size is not None and size >= 0 else 1 << 30
        return super().read(self._rng.randint(1, most) if most > 1 and self._rng.random() < 0.3 else most)


class HungError(Exception):
    """One case took too long; not an OSError, which would be taken for an error of the disk."""


@dataclass
class Report:
    """Counts of the outcomes, and the violations."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


def run_case(seed: int, folder: Path) -> Iterator[str]:
    """Unpack one archive in an empty directory; yield the outcome, then every violation."""
    into = folder / "into"
    for path in (into, folder / "beside"):
        path.mkdir(parents=True)
    (folder / "victim").write_bytes(b"untouched")
    data = make_archive(seed)
    try:
        unpack(ChunkedStream(data, seed), into, LIMITS, packed_bytes=len(data))
        yield "unpacked"
    except ArchiveError as error:
        yield "refused"
        if not (error.text.isprintable() and 0 < len(error.text) < 2000):
            yield f"the message is not one printable line: {error.text[:100]!r}"
    except CacheError as error:
        yield "cache"
        yield f"a damaged archive is reported as an error of the disk: {error}"
    except Exception as error:
        yield "raised"
        yield f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-4)}"
    yield from find_violations(folder)


def find_violations(folder: Path) -> Iterator[str]:
    """Yield every violation that can be seen in the files after a case."""
    into = folder / "into"
    if sorted(os.listdir(folder)) != ["beside", "into", "victim"] or os.listdir(folder / "beside"):
        yield f"there is something outside: {os.listdir(folder)}"
    if (folder / "victim").read_bytes() != b"untouched":
        yield "another file was written"
    inside = [*into.rglob("*")]
    if any(path.is_symlink() or not (path.is_file() or path.is_dir()) or path.stat().st_mode & 0o7000 for path in inside):
        yield "something that is neither a file nor a directory was unpacked"
    if len(inside) > LIMITS.members + hostile.DEPTH_MAX:
        yield f"{len(inside)} files and directories, the limit being {LIMITS.members}"
    if sum(map(len, files_in(into).values())) > LIMITS.size_bytes + CHUNK_BYTES:
        yield "more was written than the limit"
    if any(path.name.startswith("tmp") for path in inside):
        yield f"a temporary file remains: {inside}"


def run(seed: int, *, seconds: float = 0, cases: int = 0) -> Report:
    """Run cases from a seed on, until the time is up or ``cases`` have run, each in a directory of its own."""
    report, end_s = Report(), time.monotonic() + seconds

    def raise_hung(_: int, __: FrameType | None) -> None:
        faulthandler.dump_traceback()
        raise HungError(f"no result within {HANG_S} s")

    before = signal.signal(signal.SIGALRM, raise_hung)
    try:
        while report.cases < cases if cases else time.monotonic() < end_s:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # zipfile's, about duplicate names
                signal.alarm(HANG_S)
                outcome, *faults = run_case(seed, Path(folder))
                signal.alarm(0)
            report.outcomes[outcome] += 1
            report.violations.extend(f"--seed {seed} --cases 1: {one}" for one in faults)
            report.cases, seed = report.cases + 1, seed + 1
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return report


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if there is a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=0)
    options = parser.parse_args(arguments)
    report = run(options.seed, seconds=options.seconds, cases=options.cases)
    sys.stdout.write(f"seed {options.seed}, {report.cases} cases: {dict(report.outcomes)}\n")
    for one in report.violations:
        sys.stdout.write(f"{one}\n")
    return bool(report.violations)


if __name__ == "__main__":
    sys.exit(main())
