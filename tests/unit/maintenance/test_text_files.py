"""A file that a user names is written in full, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfimm_resolver.errors import CacheError
from tfimm_resolver.maintenance.text_files import write_text


def test_a_file_is_replaced_and_stays_private(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_text(str(path), "one")
    path.chmod(0o600)
    write_text(str(path), "two")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("two", 0o600)
    assert {*os.listdir(tmp_path)} == {"home", "x.json"}


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "x", Path("/dev/null"), tmp_path / ("x" * 250)):
        with pytest.raises(CacheError, match="cannot write"):
            write_text(str(path), "text")
    assert os.listdir(tmp_path) == ["home"]
