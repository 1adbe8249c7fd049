"""Lays out models as the caches of tensorflow_hub, kagglehub, huggingface_hub and tfimm do, and compares such caches."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from tests.fakes.checkpoints import make_entry, make_index

DATA = b"weights!" * 100
MODEL = {
    "saved_model.pb": b"a graph",
    "variables/variables.index": make_index({b"v": make_entry(1, [200], DATA)}),
    "variables/variables.data-00000-of-00001": DATA,
}
"""The files of a model whose checkpoint can be read."""

COMMIT = "a" * 40


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files below a directory."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def put_in_tfhub(root: Path, handle: str, files: dict[str, bytes] | None = None) -> Path:
    """Put a model into a cache of tensorflow_hub, which hashes the handle as it was typed."""
    name = hashlib.sha1(handle.encode()).hexdigest()
    tree = write_files(root / name, MODEL if files is None else files)
    (root / f"{name}.descriptor.txt").write_text(
        f"Module: {handle}\nDownload Time: 2026-01-02 03:04:05.678900\nDownloader Hostname: here (PID:7)\n"
    )
    return tree


def put_in_kagglehub(root: Path, path: str, files: dict[str, bytes] | None = None, *, is_complete: bool = True) -> Path:
    """Put a version of a model, ``OWNER/MODEL/FRAMEWORK/VARIATION/VERSION``, into a cache of kagglehub."""
    tree = write_files(root / "models" / path, MODEL if files is None else files)
    if is_complete:
        Path(f"{tree}.complete").touch()
    return tree


def put_in_huggingface(
    root: Path,
    repository: str,
    files: dict[str, bytes] | None = None,
    *,
    commit: str = COMMIT,
    branch: str = "main",
    over_xet: bool = False,
) -> Path:
    """Put a snapshot into a cache of huggingface_hub: blobs by their hash, links to them, and a ref.

    Blobs that came over Xet are links to files of all repositories, as in huggingface_hub 2.4.
    """
    folder = root / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    for name, data in (MODEL if files is None else files).items():
        is_large = len(data) > 500
        blob = hashlib.sha256(data).hexdigest() if is_large else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        if over_xet:
            put_shared_blob(folder / "blobs" / blob, data)
        else:
            (folder / "blobs" / blob).write_bytes(data)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(folder / "blobs" / blob, link.parent))
    ref = folder / "refs" / branch
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(commit)
    return snapshot


def put_shared_blob(blob: Path, data: bytes) -> Path:
    """Put a file into the store of all repositories, and a link to it among the blobs of one; return the file."""
    xet_hash = hashlib.sha256(b"as Xet hashes: " + data).hexdigest()
    shared = blob.parents[2] / "blobs" / xet_hash[:2] / xet_hash
    shared.parent.mkdir(parents=True, exist_ok=True)
    shared.write_bytes(data)
    if not blob.is_symlink():
        blob.symlink_to(os.path.relpath(shared, blob.parent))
    return shared


def read_state(*folders: Path) -> dict[str, tuple[object, ...]]:
    """Return every byte, mode and modification time below directories, and where links lead."""
    found: dict[str, tuple[object, ...]] = {}
    for folder in folders:
        for path in (folder, *sorted(folder.rglob("*"))):
            status = path.lstat()
            is_link = stat.S_ISLNK(status.st_mode)
            data = os.readlink(path) if is_link else path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            found[str(path)] = (stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_uid, data)
    return found
