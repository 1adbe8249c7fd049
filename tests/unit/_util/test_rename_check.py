"""The check whether a file system can rename directories."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from tfimm_resolver._util import rename_check
from tfimm_resolver._util.rename_check import RenameUnsupportedError, check_rename, check_rename_once


def refuse(code: int) -> object:
    def rename(old: str, new: str) -> None:
        raise OSError(code, os.strerror(code), old)

    return rename


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "staged"
    made.mkdir()
    return made


def test_the_directory_is_empty_again(folder: Path) -> None:
    check_rename(str(folder))
    assert [*folder.iterdir()] == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS, errno.EXDEV])
def test_a_file_system_without_renames_is_reported(code: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "rename", refuse(code))
    with pytest.raises(RenameUnsupportedError, match="cannot rename directories"):
        check_rename(str(folder))
    assert [*folder.iterdir()] == []


def test_another_failure_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "rename", refuse(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)) as caught:
        check_rename(str(tmp_path))
    assert not isinstance(caught.value, RenameUnsupportedError)


def test_a_root_is_checked_once_if_it_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rename_check, "_checked", set())
    root, first, second = tmp_path, tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", refuse(errno.EPERM))
        for _ in range(2):
            with pytest.raises(RenameUnsupportedError):
                check_rename_once(str(root), str(first))
    check_rename_once(str(root), str(first))
    monkeypatch.setattr(os, "rename", refuse(errno.EPERM))
    check_rename_once(str(root), str(second))


def test_a_root_on_another_disk_is_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rename_check, "_checked", set())
    root, disk = tmp_path / "root", tmp_path / "disk"
    disk.mkdir()
    root.symlink_to(disk)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        check_rename_once(str(root), str(disk))
        root.unlink()
        root.symlink_to(other)
        monkeypatch.setattr(os, "rename", refuse(errno.EPERM))
        with pytest.raises(RenameUnsupportedError):
            check_rename_once(str(root), other)
