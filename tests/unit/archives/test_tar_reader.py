"""Parts of the tar format that the standard library does not write."""

from __future__ import annotations

import tarfile
import time

import pytest

from tests.fakes import hostile
from tests.fakes.archives import member, tar_of
from tfimm_resolver.archives import tar_reader
from tfimm_resolver.archives.budget import Budget, Limits
from tfimm_resolver.archives.tar_reader import Link
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


@pytest.mark.parametrize("zeros", [512, 513, 1000, 1024, 10_240])
def test_one_block_of_zeros_is_the_end(zeros: int) -> None:
    data = tar_of(member("a", b"x"))[:1024]
    assert read(data + bytes(zeros)) == [("a", b"x")]


@pytest.mark.parametrize("zeros", [1, 100, 511])
def test_less_than_one_block_of_zeros_is_not_the_end(zeros: int) -> None:
    with pytest.raises(ArchiveError, match="truncated"):
        read(tar_of(member("a", b"x"))[:1024] + bytes(zeros), 100)


@pytest.mark.parametrize("after", [b"x", bytes(511) + b"x", bytes(1024) + b"x", tar_of(member("b", b"y"))])
def test_nothing_may_follow_the_end(after: bytes) -> None:
    with pytest.raises(ArchiveError, match="unexpected data follows its end"):
        read(tar_of(member("a", b"x"))[:1024] + bytes(512) + after)


def test_without_a_block_of_zeros_the_caller_decides() -> None:
    data = tar_of(member("a", b"x"))[:1024]
    with pytest.raises(ArchiveError, match="end-of-archive marker missing") as caught:
        read(data)
    assert "#sha256=" in caught.value.fix
    calls: list[None] = []
    members = tar_reader.read_members([data], on_missing_end=lambda: calls.append(None))
    assert [one.name for one in members] == ["a"] and calls == [None]
    with pytest.raises(ArchiveError, match="truncated"):
        list(tar_reader.read_members([data[:-1]], on_missing_end=lambda: calls.append(None)))


def test_a_link_has_a_target_and_no_bytes_whatever_its_header_says() -> None:
    links = [
        member("s", type=tarfile.SYMTYPE, linkname="../é"),
        member("h", type=tarfile.LNKTYPE, linkname="n" * 200),
    ]
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        data = tar_of(*links, member("a", b"x"), format=form)
        found = list(tar_reader.read_members([data]))
        assert [one.link for one in found] == [Link("../é", is_hard=False), Link("n" * 200, is_hard=True), None]
    header_ = bytearray(tar_of(member("h", type=tarfile.LNKTYPE, linkname="a"))[:512])
    header_[124:136] = b"%011o\0" % 5000
    found = list(tar_reader.read_members([set_checksum(bytes(header_)) + bytes(512)]))
    assert found[0].link == Link("a", is_hard=True) and found[0].size_bytes == 0


def test_the_label_of_a_volume_is_skipped_and_a_list_of_names_belongs_to_a_directory() -> None:
    data = tar_of(
        member("label", type=b"V"), member("d/", b"Ya\0\0", type=b"D"), member("d/a", b"x"), format=tarfile.GNU_FORMAT
    )
    assert [(one.name, one.is_directory) for one in tar_reader.read_members([data])] == [("d/", True), ("d/a", False)]


def test_a_pax_header_of_solaris_is_read() -> None:
    header_ = member("h", b"12 path=a/f\n", type=b"X")
    data = tar_of(header_, format=tarfile.USTAR_FORMAT)[:1024] + tar_of(member("b", b"x"))
    assert read(data) == [("a/f", b"x")]


def test_a_header_of_star_has_times_after_a_shorter_prefix() -> None:
    block = bytearray(tar_of(member("name", b"x"), format=tarfile.USTAR_FORMAT)[:512])
    block[345:349], block[476:500], block[508:512] = b"long", b"00000000000 00000000000 ", b"tar\0"
    data = set_checksum(bytes(block)) + b"x".ljust(512, b"\0") + bytes(1024)
    assert read(data) == [("long/name", b"x")]


def make_extension(kind: bytes, body: bytes) -> bytes:
    """Build an extension header and its body."""
    return hostile.header(b"x", len(body), kind) + hostile.pad_to_block(body)


@pytest.mark.parametrize("kind", [b"x", b"X", b"g", b"L", b"K", b"V"])
def test_extension_headers_count_as_members(kind: bytes) -> None:
    body = b"7 a=bc\n" if kind in b"xXg" else b"a\0" if kind in b"LK" else b""
    data = b"".join([make_extension(kind, body)] * 30) + hostile.entry("a") + bytes(1024)
    with pytest.raises(ArchiveError, match="over 20 members"):
        list(tar_reader.read_members([data], Budget(Limits(members=20))))
    assert [one.name for one in tar_reader.read_members([data], Budget(Limits(members=30)))] == ["a"]


def test_the_records_and_bytes_of_extension_headers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_reader, "_RECORDS_MAX", 1000)
    many = make_extension(b"x", b"5 a=\n" * 400)
    assert len(read(many * 2 + hostile.entry("a") + bytes(1024))) == 1
    with pytest.raises(ArchiveError, match="over 1000 records"):
        read(many * 3 + hostile.entry("a") + bytes(1024))
    monkeypatch.setattr(tar_reader, "_HEADERS_BYTES_MAX", 5000)
    large = make_extension(b"L", b"a" * 2500)
    with pytest.raises(ArchiveError, match="or there are too many"):
        read(large * 3 + hostile.entry("a") + bytes(1024))


@pytest.mark.timeout(30)
def test_megabytes_of_records_are_refused_before_they_take_long() -> None:
    data = make_extension(b"x", b"5 a=\n" * 200_000) * 20 + hostile.entry("a") + bytes(1024)
    start_s = time.process_time()
    with pytest.raises(ArchiveError, match="over 1000000 records"):
        list(tar_reader.read_members([data]))
    assert time.process_time() - start_s < 8


def test_two_names_of_one_member_are_refused_unless_they_are_the_same() -> None:
    """GNU tar and Python disagree about which counts: a program that looks into the archive could see other files."""
    pax = hostile.pax({"path": "assets/good.txt"})
    for headers in (
        pax + hostile.gnu_long(b"evil.txt"),
        hostile.gnu_long(b"evil.txt") + pax,
        hostile.pax({"linkpath": "good"}) + hostile.gnu_long(b"evil", b"K"),
    ):
        with pytest.raises(ArchiveError, match="a member has two names, "):
            [*tar_reader.read_members([headers + tar_of(member("short", b"x"))])]
    data = pax + hostile.gnu_long(b"assets/good.txt") + tar_of(member("short", b"x"))
    assert [one.name for one in tar_reader.read_members([data])] == ["assets/good.txt"]


@pytest.mark.parametrize("chunks", [[], [b""], [b"", memoryview(b"")]])
def test_an_empty_tar_is_an_error_that_says_so(chunks: list[bytes | memoryview]) -> None:
    for on_missing_end in (None, lambda: None):
        with pytest.raises(ArchiveError, match="the tar is empty: it has neither a member") as caught:
            list(tar_reader.read_members(chunks, on_missing_end=on_missing_end))
        assert "ends after" not in str(caught.value)
