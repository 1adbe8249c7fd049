"""Writes models files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tfimm_resolver
from tfimm_resolver.models_file.discovery import FILE_NAME

PIN = "ab" * 32


URL = "https://host.example/resnet18.tar.gz"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's directory, without a models file; it is the working directory."""
    path = tmp_path / "project"
    path.mkdir()
    monkeypatch.chdir(path)
    monkeypatch.setenv("PYTHONPATH", str(Path(tfimm_resolver.__file__).parents[1]))  # for processes that the test starts there
    return path


def write(folder: Path, text: str, name: str = FILE_NAME) -> Path:
    """Write a models file with an old time stamp, as most have."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(10**18, 10**18))
    return path


def make_entry(name: str, url: str = URL, *lines: str) -> str:
    """Return the text of one entry."""
    return "\n".join([f"[models.{name}]", f'handle = "{url}"', *lines, ""])
