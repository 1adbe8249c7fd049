"""Zip archives: what is read, and which contradictions are damage."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable

import pytest

from tests.fakes.archives import zip_of
from tfimm_resolver.archives import zip_reader
from tfimm_resolver.errors import ArchiveError

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
    assert zip_reader.read_comment(out) == "0123abcd" and read(out.getvalue()) == {"a": b"x"}


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda data: b"before" + data, "precedes member|damaged"),
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
        (make_zip(make_link(), b"/etc/passwd"), "is a link or a device"),
        (make_zip("a", b"x" * 100, zipfile.ZIP_BZIP2), "compression method 12"),
        (set_flags(make_zip("a"), 1), "is encrypted"),
        (make_zip("d/", b"x"), "is a directory, but has 1 bytes"),
    ],
    ids=["link", "method", "encrypted", "directory"],
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
    with pytest.raises(ArchiveError, match=("what precedes member", "its central directory does not list")[index]):
        read(out.getvalue())
