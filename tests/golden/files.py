"""The content of a directory after a run: every path with its mode and hash, texts and bundles in full."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tests.golden.normalise import Normaliser

_TEXT_BYTES_MAX = 1 << 15
_TEXT_ENDINGS = (".txt", ".toml", ".json", ".lock", "trusted_list")

_TIMED_ENDINGS = (".pyc", ".metadata")
"""Files of Python and huggingface_hub that contain a time, so that their hashes are omitted."""


def split_lines(text: str) -> list[str]:
    """Split at line feeds only; mark a missing last line feed, and escape carriage returns."""
    lines = text.split("\n")
    if lines[-1]:
        lines[-1] += " (without an end of line)"
    else:
        lines.pop()
    return [line.encode("unicode_escape").decode() if not line.isprintable() else line for line in lines]


def walk(root: Path) -> Iterator[tuple[Path, str]]:
    """Return every path below a directory, sorted, with its name relative to that."""
    for path in sorted(root.rglob("*")):
        yield path, path.relative_to(root).as_posix()


def show_content(path: Path, name: str, normaliser: Normaliser) -> str | None:
    """Return the content of a text or a bundle line by line; None for other files, whose hash is in the list of files."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _TEXT_BYTES_MAX:
        return None
    data = path.read_bytes()
    if not name.endswith(_TEXT_ENDINGS):
        if not normaliser.contains_paths(data):
            return None
        normaliser.digests.setdefault(hashlib.sha256(data).hexdigest(), f"<sha256 of {path.name}>")
        if tarfile.is_tarfile(path):
            return _members(data)
    with contextlib.suppress(UnicodeDecodeError):
        return "\n".join(["content:", *split_lines(data.decode())])
    return None


def _members(data: bytes) -> str:
    """Return one line for each member of a tar, and its texts in full; a truncated tar ends with a line that says so."""
    lines = [f"{len(data)} bytes"]
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for info in archive:
                lines += _member(info, archive.extractfile(info))
    except tarfile.TarError as error:
        lines.append(f"unreadable from here on: {error}")
    return "\n".join(lines)


def _member(info: tarfile.TarInfo, file: IO[bytes] | None) -> list[str]:
    content = file.read() if file else b""
    facts = f"{info.name} mode {info.mode:o} owner {info.uid}:{info.gid} time {info.mtime} kind {info.type!r}"
    if info.name.endswith(_TEXT_ENDINGS):
        return [facts, *(f"  {line}" for line in split_lines(content.decode()))]
    return [f"{facts} sha256 {hashlib.sha256(content).hexdigest()}"]


def list_path(path: Path, name: str, normaliser: Normaliser) -> str:
    """Return one line for a path: its type, mode and hash."""
    facts = path.lstat()
    mode = stat.filemode(facts.st_mode)
    if stat.S_ISLNK(facts.st_mode):
        return f"{name} {mode} to {os.readlink(path)}"
    if not stat.S_ISREG(facts.st_mode) or name.endswith(_TIMED_ENDINGS):
        return f"{name} {mode}"
    data = path.read_bytes()
    # Texts are shown in full. A file with a path or port of this run has another hash in every run.
    is_text = name.endswith(_TEXT_ENDINGS) or normaliser.contains_paths(data)
    return f"{name} {mode} {'shown as text' if is_text and len(data) <= _TEXT_BYTES_MAX else hashlib.sha256(data).hexdigest()}"
