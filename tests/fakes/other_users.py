"""Directories of tests that other users can enter."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_PREFIX = "tfimm_resolver-"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Replace pytest's directories, which every start of another pytest closes to other users again."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as path:
        yield Path(path)


def let_others_enter(folder: Path) -> None:
    """Let other users read a folder and those on the way to it, and the home directory of the test."""
    for path in (folder, *folder.parents, Path(os.environ["HOME"])):
        if _PREFIX in str(path):
            path.chmod(path.stat().st_mode | 0o055)
