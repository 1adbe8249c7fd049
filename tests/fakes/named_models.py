"""Puts models where they are found by name."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.archives import MODEL


def put_model(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    """Create a directory with the files of a model."""
    for name, data in (MODEL if files is None else files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
