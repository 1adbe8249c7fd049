"""Zips that are unpacked: what is left out with a warning, and limits that come before time and memory are spent."""

from __future__ import annotations

import io
import logging
import stat
import struct
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in
from tests.fakes.hostile import ZipMember, make_zip
from tests.fakes.processes import run
from tests.fakes.zips import STUB, make_model
from tfimm_resolver.archives.extractor import Limits
from tfimm_resolver.archives.unpacking import ArchiveLayout, unpack
from tfimm_resolver.errors import ArchiveError

REPOSITORY = ArchiveLayout(strip_top_level=True, skips_unsupported=True, label="github://ada/birds")


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """Make the empty directory to unpack into, alone in its parent."""
    folder = tmp_path / "parent" / "into"
    folder.mkdir(parents=True)
    return folder


def link(name: str, target: str) -> ZipMember:
    return ZipMember(name, target.encode(), mode=stat.S_IFLNK | 0o777)


def test_a_repository_is_unpacked_without_what_cannot_be_held(into: Path, caplog: pytest.LogCaptureFixture) -> None:
    unheld = [
        link("r/docs", "missing"),
        ZipMember("r/a\\b"),
        ZipMember("r/x\u200b.py"),
        ZipMember("r/" + "n" * 300),
        ZipMember("r/pipe", mode=stat.S_IFIFO),
    ]
    files = {"r/hubconf.py": b"code", "r/docs/a.md": b"text"}
    members = [ZipMember(name, data) for name, data in files.items()]
    data = make_zip(*members, *unheld[1:], link("r/README.md", "docs/a.md"), link("r/up", "../../x"), first=False)
    unpack(io.BytesIO(data), into, layout=REPOSITORY)
    assert files_in(into) == {"hubconf.py": b"code", "docs/a.md": b"text", "README.md": b"text"}
    (record,) = caplog.records
    text = record.getMessage()
    assert text.startswith("github://ada/birds: left out 5 members: ") and text.endswith("; and 2 more")
    assert record.levelno == logging.WARNING and text.isprintable()


@pytest.mark.parametrize(
    "harmful",
    [
        ZipMember("r/../../victim", b"x"),
        ZipMember("/victim", b"x"),
        ZipMember("r/hubconf.py", b"another"),
        ZipMember("r/x", b"x", flags=0x801),
        ZipMember("r/x", b"x", local={"crc": 1}, central={"crc": 1}),
    ],
    ids=["climbs", "is absolute", "occurs twice", "is encrypted", "is damaged"],
)
def test_a_repository_is_refused_for_a_member_that(harmful: ZipMember, into: Path) -> None:
    with pytest.raises(ArchiveError):
        unpack(io.BytesIO(make_zip(ZipMember("r/hubconf.py", b"code"), harmful, first=False)), into, layout=REPOSITORY)
    assert [path.name for path in into.parent.iterdir()] == ["into"]


@pytest.mark.parametrize(("label", "called"), [("github://ada/birds", "github://ada/birds"), ("", "the archive")])
def test_names_that_the_file_system_cannot_hold_are_left_out(
    label: str, called: str, into: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A name that is also a directory, as if the file system ignored case."""
    data = make_zip(ZipMember("r/readme/x", b"1"), ZipMember("r/readme", b"2"), ZipMember("r/a", b"3"), first=False)
    unpack(io.BytesIO(data), into, layout=REPOSITORY._replace(label=label))
    assert files_in(into) == {"readme/x": b"1", "a": b"3"}
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{called}: left out 1 member: member 'r/readme' collides")


def test_one_warning_names_the_handle_if_names_have_no_encoding(into: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["词表".encode("gbk"), "表".encode("cp932")]
    data = make_zip(*(ZipMember(name, b"x", flags=0) for name in names))
    unpack(io.BytesIO(data), into, layout=ArchiveLayout(label="https://models.example/m.zip"))
    (record,) = caplog.records
    assert record.getMessage().startswith("https://models.example/m.zip: the zip does not say how its names are encoded")
    assert {"┤╩▒φ", "ò_"} <= {*files_in(into)}


def test_links_count_towards_the_limits(into: Path) -> None:
    links = [link(f"{number}", "big") for number in range(20)]
    with pytest.raises(ArchiveError, match="over 10000 bytes"):
        unpack(io.BytesIO(make_zip(ZipMember("big", bytes(1000)), *links)), into, Limits(size_bytes=10_000))
    assert files_in(into) == {}


def test_a_zip_behind_a_stub_is_unpacked_without_it(into: Path) -> None:
    unpack(io.BytesIO(STUB + make_model(prefix="model/")), into)
    assert files_in(into) == MODEL


@pytest.mark.parametrize("start", [b"text " * 1000 + b"PK\3\4", b"\x93NUMPY" + bytes(50) + b"PK\3\4" * 10])
def test_what_only_contains_the_mark_of_a_zip_is_no_archive(start: bytes, into: Path) -> None:
    with pytest.raises(ArchiveError, match=r"it is not a .*archive: it begins with"):
        unpack(io.BytesIO(start + bytes(5000)), into)


class Endless:
    """A stream that never ends."""

    def __init__(self, start: bytes) -> None:
        self._start, self.read_bytes = start, 0

    def read(self, size: int, /) -> bytes:
        data, self._start = self._start or bytes(size), b""
        self.read_bytes += len(data)
        return data


def test_a_zip_without_a_length_is_stopped_at_the_limit(into: Path) -> None:
    stream = Endless(make_model())
    with pytest.raises(ArchiveError, match=r"a zip of over \d+ bytes, but 1000000 may be unpacked"):
        unpack(stream, into, Limits(members=5, size_bytes=1_000_000))
    assert stream.read_bytes < 5 << 20 and not [*into.iterdir()]


def test_a_zip_whose_length_is_too_large_is_not_read(into: Path) -> None:
    stream = Endless(make_model())
    with pytest.raises(ArchiveError, match="a zip of over"):
        unpack(stream, into, Limits(members=5, size_bytes=1_000_000), packed_bytes=10_000_000)
    assert stream.read_bytes <= 512


def test_small_files_that_do_not_shrink_keep_within_the_limits(into: Path) -> None:
    folder = "/".join(["d" * 240] * 2)
    files = {f"{folder}/{number:0200}": bytes([number % 256]) for number in range(2000)}
    data = make_zip(*(ZipMember(name, one, 0) for name, one in files.items()), first=False)
    assert len(data) > (2 << 20) + 100_000
    unpack(io.BytesIO(data), into, Limits(members=2002, size_bytes=2000), packed_bytes=len(data))
    assert files_in(into) == files


def test_a_zip_of_finder_is_unwrapped(into: Path) -> None:
    """Names in UTF-8 without the flag, and what macOS adds beside the folder."""
    names = ["modèle/.DS_Store", "__MACOSX/._modèle", "__MACOSX/modèle/._saved_model.pb"]
    members = (ZipMember(f"modèle/{name}".encode(), data, flags=0) for name, data in MODEL.items())
    data = make_zip(*members, *(ZipMember(name.encode(), b"x", flags=0) for name in names), first=False)
    unpack(io.BytesIO(data), into)
    assert files_in(into) == {**MODEL, ".DS_Store": b"x"}


def make_many(count: int, stated: int) -> bytes:
    """Build a zip of empty members; its end states another count."""
    out, directory = bytearray(), bytearray()
    for number in range(count):
        name, start = b"%x" % number, len(out)
        out += struct.pack("<4s5H3L2H", b"PK\3\4", 10, 0, 0, 0, 33, 0, 0, 0, len(name), 0) + name
        fields = (10, 10, 0, 0, 0, 33, 0, 0, 0, len(name), 0, 0, 0, 0, 0, start)
        directory += struct.pack("<4s6H3L5H2L", b"PK\1\2", *fields) + name
    stop = len(out) + len(directory)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, stated, stated, len(directory), len(out))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return bytes(out + directory) + end64 + struct.pack("<4sLQL", b"PK\6\7", 0, stop, 1) + end


@pytest.mark.parametrize(
    ("stated", "words"),
    [(300_000, "over 100000 members"), (3, "bytes for 3 members"), (90_000, "another length than its end says")],
)
def test_a_zip_of_many_members_is_refused_before_they_are_held(stated: int, words: str, tmp_path: Path, into: Path) -> None:
    """In a process of its own, whose memory and time the kernel counts."""
    (tmp_path / "m.zip").write_bytes(make_many(300_000, stated))
    code = """
        import re, sys, time
        from pathlib import Path
        from tfimm_resolver.archives.unpacking import unpack
        from tfimm_resolver.errors import ArchiveError
        try:
            with open(sys.argv[1], "rb") as file:
                unpack(file, Path(sys.argv[2]))
        except ArchiveError as error:
            print(error.text)
        print(int(re.search("VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) < 100_000, time.process_time() < 10)
    """
    output = run(code, str(tmp_path / "m.zip"), str(into))
    assert words in output and "True True" in output
