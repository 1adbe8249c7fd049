"""Archives by Python: tarfile, shutil, zipfile and libarchive-c."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.fakes.corpus.sample import HOLES, LINKED, LONG, SHORT, Files, Group, Sample, wrap, write_trees

_FORMATS = {"ustar": tarfile.USTAR_FORMAT, "GNU": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
_METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "LZMA": zipfile.ZIP_LZMA,
}


def _make_tar(mode: str, folder: Path, arcname: str = ".", **options: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, **options) as archive:  # type: ignore[call-overload]
        archive.add(folder, arcname)
    return out.getvalue()


def make_tars(work: Path) -> Iterator[Sample]:
    """Pack with tarfile, in each of its formats, compressions and ways to write."""
    write_trees(work)
    for name, form in _FORMATS.items():
        files = SHORT if name == "ustar" else LONG
        folder = work / ("short" if name == "ustar" else "long")
        yield Sample(f"tarfile: {name}", _make_tar("w", folder, format=form), files)
        yield Sample(f"tarfile: {name}, as a stream", _make_tar("w|gz", folder, format=form), files, ".tar.gz")
        yield Sample(f"tarfile: {name}, links", _make_tar("w:gz", work / "links", format=form), LINKED, ".tar.gz")
        body = _make_tar("w:gz", work / "short", "model", format=form)
        yield Sample(f"tarfile: {name}, in a folder", body, wrap(SHORT), ".tar.gz", "folder")
    for mode, suffix in (("gz", ".tgz"), ("bz2", ".tbz2"), ("xz", ".txz")):
        yield Sample(f"tarfile: {mode}", _make_tar(f"w:{mode}", work / "long"), LONG, suffix)
    yield Sample("tarfile: holes", _make_tar("w:gz", work / "holes"), HOLES, ".tar.gz")
    yield Sample("tarfile: added twice", _add_twice(work / "long"), LONG, ".tar.gz")
    yield Sample("tarfile: headers for all members", _make_tar_with_headers(work / "long"), LONG)


def _add_twice(folder: Path) -> bytes:
    """Add a directory, which is recursive, and then each file in it, as many scripts do."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        archive.add(folder, ".")
        for path in sorted(folder.rglob("*")):
            archive.add(path, path.relative_to(folder))
    return out.getvalue()


def _make_tar_with_headers(folder: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", pax_headers={"comment": "0123456789abcdef", "uname": "ada"}) as archive:
        archive.add(folder, ".")
    return out.getvalue()


def make_with_shutil(work: Path) -> Iterator[Sample]:
    """Pack with ``shutil.make_archive``, the directory itself and the one around it."""
    write_trees(work)
    for form, suffix in (("tar", ".tar"), ("gztar", ".tar.gz"), ("bztar", ".tar.bz2"), ("xztar", ".tar.xz"), ("zip", ".zip")):
        path = shutil.make_archive(str(work / "made"), form, work / "long")
        yield Sample(f"shutil: {form}", Path(path).read_bytes(), LONG, suffix)
        path = shutil.make_archive(str(work / "made"), form, work / "wrapped", "model")
        yield Sample(f"shutil: {form}, in a folder", Path(path).read_bytes(), wrap(SHORT), suffix, "folder")


def make_zips(work: Path) -> Iterator[Sample]:
    """Pack with zipfile, by each method, to a file and as a stream."""
    write_trees(work)
    for name, method in _METHODS.items():
        yield Sample(f"zipfile: {name}", _make_zip(LONG, method), LONG, ".zip")
    for name, body in (
        ("zip64", _make_zip(LONG, zipfile.ZIP_DEFLATED, force_zip64=True)),
        ("a comment", _make_zip(LONG, zipfile.ZIP_DEFLATED, comment=b"by hand")),
        ("a stream", _make_zip(LONG, zipfile.ZIP_DEFLATED, is_stream=True)),
        ("appended to a program", b"#!/usr/bin/env python3\n" + _make_zip(LONG, zipfile.ZIP_DEFLATED)),
    ):
        yield Sample(f"zipfile: {name}", body, LONG, ".zip")


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


def _make_zip(files: Files, method: int, *, comment: bytes = b"", force_zip64: bool = False, is_stream: bool = False) -> bytes:
    out = _Pipe() if is_stream else io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=force_zip64) as member:
                member.write(data)
        archive.comment = comment
    return out.getvalue()


def make_with_libarchive(work: Path) -> Iterator[Sample]:
    """Pack with libarchive, from Python."""
    import libarchive

    write_trees(work)
    for form, compression, suffix in (
        ("ustar", None, ".tar"),
        ("pax", None, ".tar"),
        ("pax_restricted", "gzip", ".tar.gz"),
        ("gnutar", "bzip2", ".tar.bz2"),
        ("gnutar", "xz", ".tar.xz"),
        ("pax", "lzma", ".tar.lzma"),
        ("pax", "zstd", ".tar.zst"),
        ("zip", None, ".zip"),
    ):
        files = SHORT if form == "ustar" else LONG
        out = work / "made"
        with libarchive.file_writer(str(out), form, compression) as archive:
            for name, data in files.items():
                archive.add_file_from_memory(name, len(data), data)
        yield Sample(f"libarchive: {form}, {compression}", out.read_bytes(), files, suffix)


GROUPS = {
    "tarfile": Group((), make_tars),
    "shutil": Group((), make_with_shutil),
    "zipfile": Group((), make_zips),
}
LIBARCHIVE = Group((), make_with_libarchive)
"""In place of bsdtar where that is not installed."""
