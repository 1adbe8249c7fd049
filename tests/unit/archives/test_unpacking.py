"""Which archives are unpacked, and which are refused: a refused one writes nothing outside its directory."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, REAL, files_in, gzip_tar, member, tar_gz, tar_of, zip_of
from tests.fakes.processes import start
from tfimm_resolver.archives.budget import Limits
from tfimm_resolver.archives.unpacking import ArchiveLayout, unpack
from tfimm_resolver.errors import ArchiveError, CacheError, IntegrityError


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """Make the empty directory to unpack into, alone in its parent."""
    folder = tmp_path / "parent" / "into"
    folder.mkdir(parents=True)
    return folder


def get_refusal(data: bytes, into: Path, limits: Limits | None = None) -> str:
    """Unpack, and return the error's text; check that nothing was written beside the directory."""
    with pytest.raises(ArchiveError) as caught:
        unpack(io.BytesIO(data), into, limits)
    assert [path.name for path in into.parent.iterdir()] == ["into"]
    return str(caught.value)


@pytest.mark.parametrize("archive", [tar_gz(), gzip.decompress(tar_gz()), zip_of()], ids=["tar.gz", "tar", "zip"])
def test_unpacks_members_without_directory_entries(archive: bytes, into: Path) -> None:
    unpack(io.BytesIO(archive), into)
    assert files_in(into) == MODEL


@pytest.mark.parametrize(
    "format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["ustar", "gnu", "pax"]
)
def test_reads_every_tar_format_with_long_names(format_: int, into: Path) -> None:
    name = "/".join(["a" * 60] * 3) + "/é"
    unpack(io.BytesIO(gzip_tar(tar_of(member("d/", type=tarfile.DIRTYPE), member(name, b"x"), format=format_))), into)
    assert files_in(into) == {name: b"x"} and (into / "d").is_dir()


def test_unpacks_a_real_module_of_2019_as_tarfile_does(into: Path, tmp_path: Path) -> None:
    with REAL.open("rb") as file:
        unpack(file, into)
    with tarfile.open(REAL) as archive:
        files = [info for info in archive if info.isfile()]
        assert files_in(into) == {info.name.removeprefix("./"): archive.extractfile(info).read() for info in files}


def test_accepts_several_gzip_members_in_a_row(into: Path) -> None:
    tar = gzip.decompress(tar_gz())
    unpack(io.BytesIO(gzip.compress(tar[:700]) + gzip.compress(tar[700:])), into)
    assert files_in(into) == MODEL


@pytest.mark.parametrize("make_archive", [tar_gz, zip_of], ids=["tar.gz", "zip"])
def test_strips_a_single_top_level_directory_around_a_model(make_archive, into: Path) -> None:  # type: ignore[no-untyped-def]
    unpack(io.BytesIO(make_archive({f"model-1/{name}": data for name, data in MODEL.items()})), into)
    assert files_in(into) == MODEL


def test_strips_only_one_directory_and_only_around_a_model(into: Path) -> None:
    unpack(io.BytesIO(tar_gz({"a/b/saved_model.pb": b"x"})), into)
    assert files_in(into) == {"a/b/saved_model.pb": b"x"}


def test_a_top_level_directory_may_contain_a_child_of_its_own_name(into: Path) -> None:
    unpack(io.BytesIO(tar_gz({"m/saved_model.pb": b"x", "m/m/y": b"y"})), into)
    assert files_in(into) == {"saved_model.pb": b"x", "m/y": b"y"}


HARMFUL = {
    "climbs": member("../evil", b"x"),
    "climbs within": member("a/../../evil", b"x"),
    "climbs to a sibling": member("../into_evil/x", b"x"),
    "is absolute": member("/tmp/evil", b"x"),
    "has a drive letter": member("C:\\evil", b"x"),
    "has a backslash": member("..\\evil", b"x"),
    "has a newline": member("a\nb", b"x"),
    "is a symbolic link": member("l", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "is a hard link out of it": member("l", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "is a character device": member("d", type=tarfile.CHRTYPE),
    "is a block device": member("d", type=tarfile.BLKTYPE),
    "is a FIFO": member("p", type=tarfile.FIFOTYPE),
    "is sparse": member("s", b"x", type=tarfile.GNUTYPE_SPARSE),
    "is of an unknown type": member("u", b"x", type=b"Z"),
    "has a name over 255 bytes": member("n" * 300, b"x"),
    "is a directory where a file is": member("saved_model.pb/", type=tarfile.DIRTYPE),
    "is below a file": member("saved_model.pb/x", b"x"),
    "has no name": member("./", b"x"),
    "is nested too deeply": member("a/" * 120 + "x", b"x"),
}


@pytest.mark.parametrize("harmful", HARMFUL.values(), ids=HARMFUL)
def test_refuses_a_tar_with_a_member_that(harmful: tuple[tarfile.TarInfo, bytes], into: Path) -> None:
    text = get_refusal(gzip_tar(tar_of(member("saved_model.pb", b"x"), harmful, format=tarfile.GNU_FORMAT)), into)
    assert repr(harmful[0].name)[1:10] in text


def test_writes_nothing_through_a_link_in_the_archive(into: Path, tmp_path: Path) -> None:
    link = member("out", type=tarfile.SYMTYPE, linkname=str(tmp_path))
    get_refusal(gzip_tar(tar_of(link, member("out/evil", b"x"))), into)
    assert not (tmp_path / "evil").exists()


def test_refuses_the_archive_of_cve_2025_4517(into: Path, tmp_path: Path) -> None:
    """A chain of links longer than PATH_MAX, at which realpath() stops and the data filter of tarfile misses the escape."""
    deep, steps = "d" * 247, "abcdefghijklmnop"
    members, at = [], ""
    for step in steps:
        members.append(member(at + deep, type=tarfile.DIRTYPE))
        members.append(member(at + step, type=tarfile.SYMTYPE, linkname=deep))
        at += deep + "/"
    chain = "/".join(steps) + "/" + "l" * 254
    members.append(member(chain, type=tarfile.SYMTYPE, linkname="../" * len(steps)))
    members.append(member("escape", type=tarfile.SYMTYPE, linkname=f"{chain}/../../outside"))
    members.append(member("escape/evil", b"x"))
    assert "symbolic link" in get_refusal(gzip_tar(tar_of(*members)), into)
    assert not (tmp_path / "outside").exists()


def test_refuses_the_negative_size_of_cve_2025_8194(into: Path) -> None:
    tar = bytearray(tar_of(member("a", b"x" * 100), format=tarfile.GNU_FORMAT))
    tar[124:136] = b"\xff" * 11 + b"\x00"
    tar[148:156] = b"%06o\0 " % (sum(tar[:148]) + 256 + sum(tar[156:512]))
    assert "negative size" in get_refusal(gzip_tar(bytes(tar)), into)


def test_drops_setuid_owner_and_mode(into: Path) -> None:
    unpack(io.BytesIO(gzip_tar(tar_of(member("f", b"x", mode=0o6777, uid=12345)))), into)
    status = (into / "f").stat()
    assert status.st_mode & 0o7111 == 0 and status.st_uid == into.stat().st_uid


def test_files_get_the_mode_that_the_umask_leaves(into: Path) -> None:
    unpack(io.BytesIO(tar_gz()), into)
    plain = into.parent / "plain"
    plain.write_bytes(b"")
    assert (into / "saved_model.pb").stat().st_mode == plain.stat().st_mode


def has_other_files(data: bytes, into: Path) -> bool:
    """Return whether an archive is accepted, but unpacked to other files than those of the model."""
    try:
        unpack(io.BytesIO(data), into)
    except ArchiveError:
        return False
    return files_in(into) != MODEL


@pytest.mark.parametrize("archive", [tar_gz(), zip_of()], ids=["tar.gz", "zip"])
def test_no_flipped_bit_goes_unnoticed(archive: bytes, tmp_path: Path) -> None:
    bits = random.Random(7).sample(range(8 * len(archive)), 400)
    harmful_bits = []
    for bit in bits:
        flipped = bytearray(archive)
        flipped[bit // 8] ^= 1 << bit % 8
        (folder := tmp_path / str(bit)).mkdir()
        if has_other_files(bytes(flipped), folder):
            harmful_bits.append(bit)
    assert harmful_bits == []


@pytest.mark.parametrize("archive", [tar_gz(), gzip.decompress(tar_gz()), zip_of()], ids=["tar.gz", "tar", "zip"])
def test_refuses_an_archive_that_is_truncated_anywhere(archive: bytes, tmp_path: Path) -> None:
    complete_bytes = len(archive.rstrip(b"\0")) + 1024  # a tar may be padded with any number of zeros
    lengths = {*range(0, len(archive), 97), *range(0, len(archive), 512), len(archive) - 1, len(archive) - 8}
    for length in lengths:
        if archive[:2] in (b"\x1f\x8b", b"PK") or length < complete_bytes - 512:
            (folder := tmp_path / str(length)).mkdir()
            with pytest.raises(ArchiveError):
                unpack(io.BytesIO(archive[:length]), folder)


@pytest.mark.parametrize("garbage", [b"x", b"<html>", b"\0" * 7 + b"x", b"\x1f", tar_gz()], ids=repr)
@pytest.mark.parametrize("archive", [tar_gz(), gzip.decompress(tar_gz()), zip_of()], ids=["tar.gz", "tar", "zip"])
def test_refuses_garbage_after_the_end(archive: bytes, garbage: bytes, into: Path) -> None:
    get_refusal(archive + garbage, into)


@pytest.mark.parametrize("engine", ["isal", "zlib"])
def test_zeros_after_a_gzip_stream_are_padding(engine: str, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "zlib":
        monkeypatch.setattr("tfimm_resolver.archives.decompression.GzipFile", gzip.GzipFile)
    unpack(io.BytesIO(tar_gz() + bytes(100_000)), into)
    assert files_in(into) == MODEL


@pytest.mark.parametrize("zeros", [1, 511, 100_000])
@pytest.mark.parametrize("engine", ["isal", "zlib"])
def test_anything_after_that_padding_is_refused(engine: str, zeros: int, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "zlib":
        monkeypatch.setattr("tfimm_resolver.archives.decompression.GzipFile", gzip.GzipFile)
    assert "gzip" in get_refusal(tar_gz() + bytes(zeros) + b"x", into)


def test_a_header_with_a_wrong_checksum_is_not_taken_for_the_end(into: Path) -> None:
    tar = bytearray(tar_of(member("a", b"x"), member("b", b"y"), format=tarfile.USTAR_FORMAT))
    tar[1024 + 1] ^= 1
    assert "checksum" in get_refusal(gzip_tar(bytes(tar)), into)


@pytest.mark.parametrize("body", [b"<!doctype html><title>Sorry</title>", b'{"error": "no"}', b"", b"\x89PNG\x1a\0\0"])
def test_quotes_the_start_of_what_is_not_an_archive(body: bytes, into: Path) -> None:
    text = get_refusal(body, into)
    assert (
        "not a .tar, .tar.gz, .tar.bz2, .tar.xz, .tar.zst or .zip archive" in text
        and ("'Sorry'" if b"<" in body else body[1:4].decode()) in text
    )


def test_stops_at_the_limits(into: Path) -> None:
    assert "2 members" in get_refusal(tar_gz(), into, Limits(members=2))
    assert "100 bytes" in get_refusal(tar_gz({"b": b"x" * 200}), into, Limits(size_bytes=100))


@pytest.mark.parametrize("pack", [tar_gz, zip_of], ids=["tar.gz", "zip"])
def test_stops_a_bomb_at_the_limit_and_not_after_it(pack, into: Path) -> None:  # type: ignore[no-untyped-def]
    bomb = pack({"zeros": bytes(200 << 20)})
    assert len(bomb) < 1 << 20
    assert "200 times its size" in get_refusal(bomb, into)
    assert sum(map(len, files_in(into).values())) < 70 << 20


def test_refuses_an_encrypted_or_linking_member_of_a_zip(into: Path) -> None:
    encrypted = bytearray(zip_of())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(signature) + offset] |= 1
    assert "encrypted" in get_refusal(bytes(encrypted), into)
    linking = bytearray(zip_of())
    linking[linking.index(b"PK\x01\x02") + 38 : linking.index(b"PK\x01\x02") + 42] = (0o120777 << 16).to_bytes(4, "little")
    assert "link" in get_refusal(bytes(linking), into)


def test_refuses_a_zip_with_data_that_its_central_directory_does_not_list(into: Path) -> None:
    for number in range(len(MODEL)):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, data in MODEL.items():
                archive.writestr(name, data)
            del archive.filelist[number]
        assert "the zip is damaged" in get_refusal(out.getvalue(), into)
    assert "central directory" in get_refusal(b"PK\x03\x04" + b"x" * 40 + zip_of(), into)


def test_accepts_a_zip_that_was_written_as_a_stream(into: Path) -> None:
    class Pipe(io.BytesIO):
        def tell(self) -> int:
            raise OSError("a pipe has no position")

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in MODEL.items():
            archive.writestr(name, data)
    assert pipe.getvalue().count(b"PK\x07\x08") == len(MODEL), "every member is followed by a data descriptor"
    unpack(io.BytesIO(pipe.getvalue()), into)
    assert files_in(into) == MODEL


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unpacks_a_zip_of_python_with_another_compression_method(method: int, into: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in MODEL.items():
            archive.writestr(name, data)
    unpack(io.BytesIO(out.getvalue()), into)
    assert files_in(into) == MODEL


def test_does_not_recreate_its_directory_after_another_process_removed_it(into: Path) -> None:
    into.rmdir()
    with pytest.raises(CacheError, match="No such file"):
        unpack(io.BytesIO(tar_gz({"variables/variables.index": b"x"})), into)
    with pytest.raises(CacheError, match="No such file"):
        unpack(io.BytesIO(zip_of()), into)
    assert not into.exists()


@pytest.mark.parametrize("name", ["../evil", "/evil", "a\\..\\b", "C:/evil"])
def test_refuses_a_zip_with_a_member_outside(name: str, into: Path) -> None:
    get_refusal(zip_of({name: b"x"}), into)


def test_a_buffer_is_reused_only_when_no_view_refers_to_it() -> None:
    from collections import deque

    from tfimm_resolver.archives.decompression import _reuse_buffer

    buffers: deque[bytearray] = deque()
    first = _reuse_buffer(buffers, 100)
    view = memoryview(first)[10:20]
    second = _reuse_buffer(buffers, 100)
    assert second is not first and len(first) == len(second)
    view.release()
    del view
    assert _reuse_buffer(buffers, 100) is first and len(buffers) == 2


def test_many_chunks_in_flight_are_not_mixed_up(into: Path) -> None:
    files = {f"variables/{number}": random.Random(number).randbytes(number * 50_000) for number in range(60)}
    entries = unpack(io.BytesIO(tar_gz(files)), into)
    assert {file.path: file.sha256 for file in entries} == {
        path: hashlib.sha256(data).hexdigest() for path, data in files.items()
    }
    assert files_in(into) == files


@pytest.mark.parametrize("damage", ["", "cut", "flipped"])
def test_works_the_same_without_isal(damage: str, into: Path) -> None:
    data = bytearray(REAL.read_bytes())
    if damage == "cut":
        del data[-5:]
    elif damage == "flipped":
        data[600] ^= 1
    code = """
        import sys
        from pathlib import Path
        sys.modules["isal"] = None  # as on a platform for which it has no wheel
        from tfimm_resolver.archives import decompression, unpacking
        from tfimm_resolver import errors
        assert decompression.GzipFile.__module__ == "gzip"
        try:
            print(len(unpacking.unpack(open(0, "rb", closefd=False), Path(sys.argv[1]))))
        except errors.ArchiveError as error:
            print(error.text)
    """
    (into.parent / "archive").write_bytes(data)
    with (into.parent / "archive").open("rb") as file:
        job = start(code, str(into), stdin=file)
        out, err = job.communicate(timeout=60)
    assert {"": "4", "cut": "truncated", "flipped": "damaged"}[damage] in out, (out, err)


@pytest.mark.parametrize("make_archive", [tar_gz, zip_of], ids=["tar.gz", "zip"])
def test_strips_a_required_top_level_directory(make_archive, into: Path) -> None:  # type: ignore[no-untyped-def]
    files = unpack(
        io.BytesIO(make_archive({"top/a/b": b"1", "top/c": b"2"})), into, layout=ArchiveLayout(strip_top_level=True)
    )
    assert files_in(into) == {"a/b": b"1", "c": b"2"} and [file.path for file in files] == ["a/b", "c"]


@pytest.mark.parametrize("files", [{"a": b""}, {"a/b": b"", "c/d": b""}])
def test_refuses_an_archive_without_the_required_top_level_directory(files: dict[str, bytes], into: Path) -> None:
    with pytest.raises(ArchiveError, match="exactly one top-level directory, but contains 'a'"):
        unpack(io.BytesIO(tar_gz(files)), into, layout=ArchiveLayout(strip_top_level=True))


def test_passes_on_a_zips_comment_before_anything_is_unpacked(into: Path) -> None:
    out = io.BytesIO(zip_of())
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = b"c0ffee"

    def on_comment(comment: str) -> None:
        assert comment == "c0ffee" and not list(into.glob("**/saved_model.pb"))
        raise IntegrityError("another one")

    with pytest.raises(IntegrityError, match="another one"):
        unpack(io.BytesIO(out.getvalue()), into, layout=ArchiveLayout(on_comment=on_comment))
    assert files_in(into) == {}


def add_files_again(folder: Path, *names: str, how: str) -> bytes:
    """Return what GNU tar writes when it adds files to an archive that already contains them."""
    archive = folder.parent / "again.tar"
    archive.unlink(missing_ok=True)
    for mode, data in (("-c", b"old"), (how, b"new bytes")):
        for name in names:
            (folder / name).write_bytes(data)
            os.utime(folder / name, (1e9 + len(data),) * 2)
        subprocess.run(["tar", mode, "-f", str(archive), "-C", str(folder), *names], check=True)
    return archive.read_bytes()


@pytest.mark.parametrize("label", ["", "https://models.example/m.tar"])
@pytest.mark.parametrize("how", ["-r", "-u"])
def test_of_a_file_that_tar_added_twice_the_last_one_is_used_with_one_warning(
    how: str, label: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "into").mkdir()
    data = add_files_again(tmp_path / "source", "saved_model.pb", "vocabulary.txt", how=how)
    files = unpack(io.BytesIO(data), tmp_path / "into", layout=ArchiveLayout(label=label))
    assert files_in(tmp_path / "into") == {"saved_model.pb": b"new bytes", "vocabulary.txt": b"new bytes"}
    assert [(file.path, file.sha256) for file in files] == [
        (name, hashlib.sha256(b"new bytes").hexdigest()) for name in ("saved_model.pb", "vocabulary.txt")
    ]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"{label or 'the archive'} contains {name!r} more than once, with different bytes: the last one is used, as by tar"
        for name in ("saved_model.pb", "vocabulary.txt")
    ]


def test_the_same_file_twice_gives_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    unpack(io.BytesIO(tar_of(member("saved_model.pb", b"x"), member("saved_model.pb", b"x"))), tmp_path)
    assert files_in(tmp_path) == {"saved_model.pb": b"x"} and caplog.records == []


def test_a_file_that_occurs_many_times_counts_each_time_towards_the_limits(into: Path) -> None:
    many = tar_of(*[member("saved_model.pb", b"x" * 100)] * 20)
    assert "over 10 members" in get_refusal(many, into, Limits(members=10))
