"""Parts of the tar format that the standard library does not write."""

from __future__ import annotations

import tarfile

import pytest

from tests.fakes.archives import member, tar_of
from tfimm_resolver.archives import tar_reader
from tfimm_resolver.errors import ArchiveError


def read(data: bytes, chunk_bytes: int = 512) -> list[tuple[str, bytes]]:
    """Return the names and bytes of all members, reading the archive in chunks of any length."""
    chunks = (data[start : start + chunk_bytes] for start in range(0, len(data), chunk_bytes))
    return [(one.name, b"".join(map(bytes, one.chunks))) for one in tar_reader.read_members(chunks)]


def set_checksum(block: bytes, *, signed: bool = False) -> bytes:
    """Return a header with its checksum recomputed."""
    rest = block[:148] + b" " * 8 + block[156:]
    total = sum(byte - 256 if signed and byte > 127 else byte for byte in rest)
    return block[:148] + b"%06o\0 " % total + block[156:]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 511, 512, 513, 100_000])
def test_the_length_of_chunks_does_not_matter(chunk_bytes: int) -> None:
    data = tar_of(member("a", b"x" * 1000), member("b", b""), member("c", b"y" * 512))
    assert read(data, chunk_bytes) == [("a", b"x" * 1000), ("b", b""), ("c", b"y" * 512)]


def test_a_member_that_is_not_read_is_skipped() -> None:
    data = tar_of(member("a", b"x" * 5000), member("b", b"y"))
    assert [one.name for one in tar_reader.read_members([data])] == ["a", "b"]


def test_reads_a_size_in_base_256() -> None:
    data = bytearray(tar_of(member("a", b"x" * 10), format=tarfile.GNU_FORMAT))
    data[124:136] = b"\x80" + (10).to_bytes(11, "big")
    assert read(set_checksum(bytes(data[:512])) + bytes(data[512:])) == [("a", b"x" * 10)]


def test_accepts_a_checksum_of_signed_bytes() -> None:
    data = tar_of(member("é", b"x"), format=tarfile.USTAR_FORMAT)
    assert read(set_checksum(data[:512], signed=True) + data[512:]) == [("é", b"x")]


def test_a_v7_name_with_a_slash_at_its_end_is_a_directory() -> None:
    block = tar_of(member("d/"), format=tarfile.USTAR_FORMAT)[:512]
    block = set_checksum(block[:156] + b"\0" + block[157:257] + bytes(255))
    assert [one.is_directory for one in tar_reader.read_members([block + bytes(1024)])] == [True]


def test_a_global_pax_header_is_skipped() -> None:
    data = tarfile.TarInfo.create_pax_global_header({"comment": "0123456789abcdef"}) + tar_of(member("a", b"x"))
    assert read(data) == [("a", b"x")]


@pytest.mark.parametrize(
    "record",
    [
        b"99 path=x\n",
        b"x path=y\n",
        b"8 path=x",
        b"0 path=x\n",
        b"-1 path=x\n",
        b"12 size=-100\n",
        b"24 GNU.sparse.size=1000\n",
    ],
)
def test_refuses_a_pax_header_that_is_damaged(record: bytes) -> None:
    info, _ = member("h", record, type=tarfile.XHDTYPE)
    header = tar_of((info, record), format=tarfile.USTAR_FORMAT)[:1024]
    with pytest.raises(ArchiveError):
        read(header + tar_of(member("a", b"x")))


def test_refuses_an_extension_header_with_nothing_after_it() -> None:
    header = tar_of(member("h", b"9 path=x\n", type=tarfile.XHDTYPE), format=tarfile.USTAR_FORMAT)
    with pytest.raises(ArchiveError, match="extension header"):
        read(header)


def test_refuses_an_extension_header_that_is_too_large() -> None:
    header = tar_of(member("h", b"x" * (2 << 20), type=tarfile.GNUTYPE_LONGNAME), format=tarfile.GNU_FORMAT)
    with pytest.raises(ArchiveError, match="an extension header of"):
        read(header)


def test_one_block_of_zeros_is_not_the_end() -> None:
    data = tar_of(member("a", b"x"))
    with pytest.raises(ArchiveError, match="truncated"):
        read(data[: 1024 + 512])
