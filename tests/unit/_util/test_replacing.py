"""Tests of ``_util.replacing``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.fakes.processes import run
from tfimm_resolver._util.replacing import replace_file

IN_A_DROP_BOX = """
import os, sys
from tfimm_resolver._util.replacing import replace_file
os.seteuid(65534)
with replace_file(sys.argv[1] + "/x") as file:
    file.write(b"new")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "x"


def write(path: Path, data: bytes) -> None:
    with replace_file(str(path)) as file:
        file.write(data)


def test_a_file_is_created_and_replaced(path: Path) -> None:
    write(path, b"one")
    write(path, b"two")
    assert path.read_bytes() == b"two" and os.listdir(path.parent) == ["x"]


def test_the_permissions_stay(path: Path) -> None:
    write(path, b"one")
    path.chmod(0o600)
    write(path, b"two")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_stays(path: Path) -> None:
    write(path, b"one")
    path.with_name("link").symlink_to("x")
    write(path.with_name("link"), b"two")
    assert path.read_bytes() == b"two" and path.with_name("link").is_symlink()


def test_an_error_leaves_the_old_file(path: Path) -> None:
    write(path, b"one")
    with pytest.raises(KeyboardInterrupt), replace_file(str(path)) as file:
        file.write(b"partial")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"one" and os.listdir(path.parent) == ["x"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
def test_a_directory_that_may_be_written_but_not_listed() -> None:
    # Not below pytest's own directory, which another run of pytest closes to other users.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o733)
        run(IN_A_DROP_BOX, folder)
        assert Path(folder, "x").read_bytes() == b"new"
