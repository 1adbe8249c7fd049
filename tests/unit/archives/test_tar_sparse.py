"""Sparse files in every format of GNU tar become files of zeros and bytes."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.hostile import BLOCK_BYTES, entry, header, old_sparse, pad_to_block, pax, pax_record, set_checksum
from tfimm_resolver.archives import tar_reader
from tfimm_resolver.archives.budget import Budget, Limits
from tfimm_resolver.errors import ArchiveError

END = bytes(2 * BLOCK_BYTES)


def read(data: bytes, limits: Limits | None = None, chunk_bytes: int = 700) -> dict[str, bytes]:
    """Return the members of a tar."""
    chunks = (data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes))
    members = tar_reader.read_members(chunks, Budget(limits or Limits()))
    return {one.name: b"".join(map(bytes, one.chunks)) for one in members if not one.is_directory}


def make_file(path: Path, regions: int) -> bytes:
    """Write a file with holes before, between and after its regions; return its bytes."""
    data = bytearray(regions * 65_536 + 100_000)
    for number in range(regions):
        at = number * 65_536 + 32_768
        data[at : at + 4096] = random.Random(number).randbytes(4096)
    with path.open("wb") as file:
        for number in range(regions):
            file.seek(number * 65_536 + 32_768)
            file.write(data[number * 65_536 + 32_768 :][:4096])
        file.truncate(len(data))
    return bytes(data)


FORMATS = {
    "gnu": ["--format=gnu"],
    "oldgnu": ["--format=oldgnu"],
    **{f"pax {version}": ["--format=posix", f"--sparse-version={version}"] for version in ("0.0", "0.1", "1.0")},
}


@pytest.mark.parametrize("regions", [0, 1, 4, 5, 25, 60])
@pytest.mark.parametrize("form", FORMATS)
def test_expands_what_gnu_tar_packs(form: str, regions: int, tmp_path: Path) -> None:
    expected = make_file(tmp_path / ("s" * 60), regions)
    (tmp_path / "z").write_bytes(b"after it")
    command = ["tar", "-cSf", "-", *FORMATS[form], "-C", str(tmp_path), "s" * 60, "z"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    assert len(archive) < len(expected) or not regions
    assert read(archive) == {"s" * 60: expected, "z": b"after it"}


def test_expands_a_file_without_any_data_and_one_of_no_size() -> None:
    assert read(old_sparse(5000, [(5000, 0)], b"") + END) == {"p": bytes(5000)}
    assert read(old_sparse(0, [], b"") + END) == {"p": b""}
    empty = pax({"GNU.sparse.size": "10", "GNU.sparse.numblocks": "0"}) + entry("p")
    assert read(empty + END) == {"p": bytes(10)}


def test_the_name_in_the_map_is_the_name() -> None:
    sparse = {"major": "1", "minor": "0", "name": "d/é", "realsize": "3"}
    records = {f"GNU.sparse.{keyword}": value for keyword, value in sparse.items()}
    body = pad_to_block(b"1\n1\n1\n") + b"x"
    data = pax({**records, "path": "GNUSparseFile.1/p"}) + header(b"p", len(body)) + pad_to_block(body)
    assert read(data + END) == {"d/é": b"\0x\0"}


def test_a_map_of_one_file_does_not_apply_to_the_next() -> None:
    records = {"GNU.sparse.size": "3", "GNU.sparse.map": "1,1", "GNU.sparse.numblocks": "1"}
    assert read(pax(records) + entry("p", b"x") + entry("q", b"y") + END) == {"p": b"\0x\0", "q": b"y"}


def make_extended(count: int) -> bytes:
    """Build a member whose map of empty regions needs blocks of its own."""
    blocks = [b"%011o\0%011o\0" % (0, 0) * 21] * count
    more = [set_end(block, number + 1 < count) for number, block in enumerate(blocks)]
    return old_sparse(100, [(0, 0)] * 4, b"", b"".join(more))


def set_end(pairs: bytes, has_next: bool) -> bytes:
    """Return a block of a map, with the byte that tells whether another one follows."""
    return (pairs + bytes([has_next])).ljust(BLOCK_BYTES, b"\0")


def make_map(count: int, version: str) -> bytes:
    """Build a member with a map of many empty regions in a pax header."""
    if version == "1.0":
        body = pad_to_block(b"%d\n" % count + b"0\n0\n" * count)
        return pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}) + entry("p", body)
    if version == "0.1":
        text = ",".join(["0,0"] * count)
        return pax({"GNU.sparse.size": "9", "GNU.sparse.numblocks": str(count), "GNU.sparse.map": text}) + entry("p")
    pairs = pax_record("GNU.sparse.offset", "0") + pax_record("GNU.sparse.numbytes", "0")
    start = pax_record("GNU.sparse.size", "9") + pax_record("GNU.sparse.numblocks", str(count))
    return pax(start + pairs * count) + entry("p")


@pytest.mark.parametrize(
    "make",
    [make_extended, *(lambda count, one=one: make_map(count * 21, one) for one in ("0.0", "0.1", "1.0"))],
    ids=["old", "0.0", "0.1", "1.0"],
)
def test_regions_count_as_members(make: Callable[[int], bytes]) -> None:
    assert len(read(make(3) + END, Limits(members=100))["p"]) in (9, 100)
    with pytest.raises(ArchiveError, match="over 50 members"):
        read(make(3) + END, Limits(members=50))


def test_holes_count_towards_the_limit_of_bytes() -> None:
    data = old_sparse(1 << 32, [(1 << 31, 1)], b"x") + END
    with pytest.raises(ArchiveError, match="over 1000000 bytes"):
        read(data, Limits(size_bytes=1_000_000))


def test_holes_count_towards_the_ratio() -> None:
    members = tar_reader.read_members([old_sparse(1 << 30, [(0, 1)], b"x") + END], Budget(Limits(), lambda: 2048))
    with pytest.raises(ArchiveError, match="200 times"):
        for one in members:
            for _ in one.chunks:
                pass


def test_a_truncated_sparse_file_is_noticed() -> None:
    data = old_sparse(3000, [(0, 512), (1024, 512)], os.urandom(1024))
    for length in range(0, len(data), 128):
        with pytest.raises(ArchiveError):
            read(data[:length])


def test_a_changed_real_size_is_noticed_by_the_checksum() -> None:
    data = bytearray(old_sparse(3000, [(0, 512)], bytes(512)) + END)
    data[490] ^= 1
    with pytest.raises(ArchiveError, match="checksum"):
        read(bytes(data))
    data[:512] = set_checksum(bytes(data[:512]))
    assert len(read(bytes(data))["p"]) != 3000
