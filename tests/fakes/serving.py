"""Makes models to publish, reads what was published, and lists what a killed process left."""

from __future__ import annotations

import os
from pathlib import Path

from tests.fakes.archives import MODEL, files_in
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.integrations.serving.marker import FILE_NAME
from tfimm_resolver.integrations.serving.model_files import ModelFiles, list_model_files

Files = dict[str, bytes]


def make_files(number: int) -> Files:
    """Return the files of a model, each of which names it."""
    return {path: b"%d %s" % (number, data) for path, data in MODEL.items()}


def make_model(folder: Path, files: Files | None = None, *, is_cached: bool = False) -> ModelFiles:
    """Write a model to a directory, and return its files; ``is_cached``: as if the directory were in a cache."""
    for path, data in (files or MODEL).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    found = list_model_files(ModelLocation(str(folder)), f"model {folder.name}", needs_graph=False)
    return ModelFiles(found.handle, found.path, found.files, may_link=is_cached)


def read_published(directory: str | Path) -> Files:
    """Return the files of a published model, which has a marker."""
    files = files_in(directory)
    assert files.pop(FILE_NAME, None), f"{directory} has no marker"
    return files


def take_snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return inode, size and time of modification of everything below a directory, to see whether anything changes."""
    paths = [folder, *folder.rglob("*")]
    return {str(path): (path.lstat().st_ino, path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths}


def list_staging(folder: Path) -> list[str]:
    """Return the names of staging directories directly in a directory."""
    return sorted(name for name in os.listdir(folder) if name.startswith(".tmp-"))
