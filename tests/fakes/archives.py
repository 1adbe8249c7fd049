"""Builds archives: of models that look complete, and of arbitrary members, also hostile ones."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

REAL = Path(__file__).parents[1] / "data" / "half_plus_two_v1.tar.gz"
MODEL = {
    "saved_model.pb": b"a graph",
    "variables/variables.index": b"an index",
    "variables/variables.data-00000-of-00001": b"weights " * 100,
}


def member(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """Build a member of a tar, with any fields of its header."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar_of(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002
    """Build a plain tar of any members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def gzip_tar(tar: bytes) -> bytes:
    """Compress a tar with gzip, to the same bytes each time."""
    return gzip.compress(tar, mtime=0)


def tar_gz(files: dict[str, bytes] | None = None) -> bytes:
    """Build a .tar.gz of files, by default of a model, without entries for directories."""
    return gzip_tar(tar_of(*(member(name, data) for name, data in (files or MODEL).items())))


def zip_of(files: dict[str, bytes] | None = None) -> bytes:
    """Build a deflated .zip of files, by default of a model."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (files or MODEL).items():
            info = zipfile.ZipInfo(name)  # of 1980: with the current time, ids of tests that contain a zip would differ
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
            archive.writestr(info, data)
    return out.getvalue()


def files_in(folder: str | Path) -> dict[str, bytes]:
    """Read every file below a directory, by its relative path."""
    root = Path(folder)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
