"""Zip archives: what is read, and which contradictions are damage."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable

import pytest

from tests.fakes import zips
from tests.fakes.archives import MODEL, zip_of
from tests.fakes.hostile import ZipMember, add_zip64_end
from tests.fakes.hostile import make_zip as make_hostile_zip
from tfimm_resolver.archives import zip_reader
from tfimm_resolver.archives.zip_directory import LOCAL_SIGNATURE
from tfimm_resolver.errors import ArchiveError, UnsupportedMemberError

FILES = {"a.txt": b"a" * 1000, "dir/b.txt": b"b", "empty": b""}


class _Pipe(io.BytesIO):
    """An output that cannot seek: zipfile writes data descriptors after the members."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def read(data: bytes) -> dict[str, bytes]:
    """Return the names and bytes of all members."""
    return {one.name: b"".join(map(bytes, one.chunks)) for one in zip_reader.read_members(io.BytesIO(data))}


def make_zip(info: zipfile.ZipInfo | str, data: bytes = b"x", method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip of one member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(info, data)
    return out.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("kind", [io.BytesIO, _Pipe])
def test_reads_stored_and_deflated_members_with_and_without_descriptors(method: int, kind: type[io.BytesIO]) -> None:
    out = kind()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    assert read(out.getvalue()) == FILES


def test_reads_sizes_of_64_bits() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, archive.open("a", "w", force_zip64=True) as file:
        file.write(b"abc")
    assert read(out.getvalue()) == {"a": b"abc"}


def test_a_name_with_a_slash_at_its_end_is_a_directory() -> None:
    (one,) = zip_reader.read_members(io.BytesIO(make_zip("d/", b"")))
    assert one.is_directory and one.size_bytes == 0


def test_reads_the_comment() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", b"x")
        archive.comment = b"0123abcd"
    end = zip_reader.read_end(out)
    assert end is not None and end.comment == b"0123abcd" and read(out.getvalue()) == {"a": b"x"}


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda data: LOCAL_SIGNATURE + b"before" + data, "precedes its first member"),
        (lambda data: b"before" + zip_of({"a": b"x"})[:-22] + data, "precedes its first member"),
        (lambda data: bytes((1 << 20) + 1) + data, "precedes its first member"),
        (lambda data: data + b"after", "follows its end"),
        (lambda data: data[:-5], "damaged"),
        (lambda data: data.replace(b"a.txt", b"c.txt", 1), "contradicts the central directory"),
        (lambda data: b"PK\x03\x05" + data[4:], "damaged"),
        (lambda data: b"", "damaged"),
    ],
)
def test_a_contradiction_is_damage(damage: Callable[[bytes], bytes], text: str) -> None:
    with pytest.raises(ArchiveError, match=text):
        read(damage(zip_of(FILES)))


def test_changed_bytes_of_a_stored_member_are_noticed_at_its_end() -> None:
    data = make_zip("a", b"some bytes").replace(b"some bytes", b"evil bytes")
    with pytest.raises(ArchiveError, match="member 'a' has another size or CRC"):
        read(data)


def make_link() -> zipfile.ZipInfo:
    """Return a member that is a symbolic link."""
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def set_flags(data: bytes, flags: int) -> bytes:
    """Set the flags in both headers of a zip of one member."""
    data = data[:6] + struct.pack("<H", flags) + data[8:]
    at = data.index(b"PK\x01\x02") + 8
    return data[:at] + struct.pack("<H", flags) + data[at + 2 :]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (make_zip(make_link(), b"/etc/passwd"), "is a symbolic link to '/etc/passwd', which is not a file in the archive"),
        (make_zip(make_link(), b"a" * 5000), "is a symbolic link to '', which"),
        (make_hostile_zip(ZipMember("a", b"x", 9)), "compression method 9 .Deflate64."),
        (set_flags(make_zip("a"), 1), "is encrypted"),
        (make_zip("d/", b"x"), "is a directory, but has 1 bytes"),
    ],
    ids=["link", "long link", "method", "encrypted", "directory"],
)
def test_a_member_of_another_kind_is_rejected(data: bytes, text: str) -> None:
    with pytest.raises(ArchiveError, match=text):
        read(data)


@pytest.mark.parametrize("index", [0, 1])
def test_a_member_that_the_central_directory_does_not_list_is_damage(index: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", b"x")
        archive.writestr("b", b"y")
        del archive.filelist[index]
    with pytest.raises(ArchiveError, match=("what precedes its first member", "its central directory does not list")[index]):
        read(out.getvalue())


def link(name: str, target: str) -> ZipMember:
    """Return a member that is a symbolic link."""
    return ZipMember(name, target.encode(), mode=stat.S_IFLNK | 0o777)


def test_a_link_has_the_bytes_of_the_file_that_it_leads_to() -> None:
    data = make_hostile_zip(
        link("README", "docs/a"), link("l", "docs/../README"), ZipMember("docs/a", b"text"), link("d", "docs")
    )
    with pytest.raises(UnsupportedMemberError, match="'d' is a symbolic link to 'docs'"):
        read(data)
    skipped: list[UnsupportedMemberError] = []
    members = {
        one.name: b"".join(map(bytes, one.chunks)) for one in zip_reader.read_members(io.BytesIO(data), skip=skipped.append)
    }
    assert members == {"saved_model.pb": b"a graph", "README": b"text", "l": b"text", "docs/a": b"text"}
    assert len(skipped) == 1


def test_a_damaged_link_is_refused_also_if_others_are_skipped() -> None:
    data = make_hostile_zip(ZipMember("l", b"a", mode=stat.S_IFLNK, local={"crc": 1}, central={"crc": 1}))
    with pytest.raises(ArchiveError, match="another size or CRC"):
        [*zip_reader.read_members(io.BytesIO(data), skip=lambda _: None)]


@pytest.mark.parametrize("stub", [zips.STUB, b"MZ" + bytes(5000), b"PK00", b"PK\x07\x08", b"code PK\3\4" + b"\xff" * 60])
@pytest.mark.parametrize("is_adjusted", [False, True], ids=["offsets of the zip", "offsets in the file"])
def test_reads_a_zip_behind_a_stub(stub: bytes, is_adjusted: bool) -> None:
    data = zips.make_model(before=stub) if is_adjusted else stub + zips.make_model()
    assert read(data) == MODEL


def test_backslashes_become_separators_if_no_name_has_a_slash() -> None:
    files = {name.replace("/", "\\"): data for name, data in MODEL.items()}
    members = (zips.make_member(name, data) for name, data in files.items())
    assert read(make_hostile_zip(zips.make_member("variables\\", b""), *members, first=False)) == {"variables/": b"", **MODEL}
    with pytest.raises(UnsupportedMemberError, match="has a backslash, but other names in the zip have a slash"):
        read(make_hostile_zip(ZipMember("a\\b"), ZipMember("c/d")))


def test_the_first_guessed_name_is_reported() -> None:
    raw = "词表".encode("gbk")
    guessed: list[str] = []
    data = make_hostile_zip(ZipMember(raw, b"x", flags=0), ZipMember("é".encode("cp437"), b"x", flags=0))
    assert [one.name for one in zip_reader.read_members(io.BytesIO(data), on_guess=guessed.append)][1:] == ["┤╩▒φ", "é"]
    assert guessed == ["┤╩▒φ"]


def test_the_local_header_has_the_same_name_in_every_encoding() -> None:
    raw = "词表".encode("gbk")
    path = zips.make_unicode_path(raw, "词表")
    for local in ({"extra": path}, {}):
        assert list(read(make_hostile_zip(ZipMember(raw, flags=0, central={"extra": path}, local=local)))) == [
            "saved_model.pb",
            "词表",
        ]
    for local in ({"extra": zips.make_unicode_path(raw, "other")}, {"name": b"other"}, {"flags": 0x800}):
        with pytest.raises(ArchiveError, match="damaged"):
            read(make_hostile_zip(ZipMember(raw, flags=0, central={"extra": path}, local=local)))


def test_members_are_counted_for_other_readers() -> None:
    data = make_hostile_zip(*(ZipMember(f"{number}") for number in range(9)))
    zip_reader.check_member_count(io.BytesIO(data), 10)
    zip_reader.check_member_count(io.BytesIO(add_zip64_end(data, 10)), 10)
    with pytest.raises(ArchiveError, match="over 9 members"):
        zip_reader.check_member_count(io.BytesIO(data), 9)
    with pytest.raises(ArchiveError, match="another length than its end says"):
        zip_reader.check_member_count(io.BytesIO(make_hostile_zip(ZipMember("a"), count=1)), 9)


def _end_twice(data: bytes) -> bytes:
    """Return a zip with two ends: one lists one member, with the other, which lists all members, as its comment."""
    count, _, start = struct.unpack("<HLL", data[-12:-2])
    last = data.rindex(b"PK\1\2")
    entry = data[last:-22]
    inner = entry + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), start, 22)
    directory = data[start : last + 32] + struct.pack("<H", len(inner)) + data[last + 34 : -22] + inner
    return data[:start] + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), start, 1)


HIDDEN = {
    "a byte after it": lambda data: data + b"x",
    "much after it": lambda data: data + b"x" * 300,
    "a comment cut short": lambda data: data[:-2] + b"\1\0",
    "a second end": _end_twice,
}


@pytest.mark.parametrize("hide", HIDDEN.values(), ids=HIDDEN)
def test_a_zip_whose_end_only_zipfile_finds_is_not_left_uncounted(hide: Callable[[bytes], bytes]) -> None:
    data = hide(make_hostile_zip(*(ZipMember(f"{number}") for number in range(200))))
    assert len(zipfile.ZipFile(io.BytesIO(data)).namelist()) == 201
    with pytest.raises(ArchiveError, match="something follows its end"):
        zip_reader.check_member_count(io.BytesIO(data), 100)


def test_a_record_of_64_bits_is_only_looked_for_where_zipfile_does() -> None:
    data = add_zip64_end(make_hostile_zip(), 1)
    at = data.index(b"PK\6\6")
    longer = data[: at + 4] + struct.pack("<Q", 44 + 56) + data[at + 12 : at + 56] + bytes(56) + data[at + 56 :]
    assert len(list(zip_reader.read_members(io.BytesIO(longer)))) == 1
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(longer))
    with pytest.raises(ArchiveError, match="its end record for 64 bits is missing"):
        zip_reader.check_member_count(io.BytesIO(longer), 10)
