"""A file is linked only where no one else can change it through the link, and all who are to read it can."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tfimm_resolver._util import copies
from tfimm_resolver._util.copies import COPIED, LINKED, copy_file
from tfimm_resolver._util.fs import NotRegularError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"weights" * 1000)
    path.chmod(0o644)
    return path


def test_a_file_of_this_user_is_linked(source: Path, tmp_path: Path) -> None:
    assert copy_file(str(source), str(tmp_path / "target"), may_link=True, readable=0o444) == LINKED
    assert (tmp_path / "target").samefile(source)


@pytest.mark.parametrize(("mode", "readable"), [(0o600, 0o444), (0o640, 0o444), (0o664, 0o444), (0o646, 0o444)])
def test_a_file_that_others_may_write_or_cannot_read_is_copied(mode: int, readable: int, source: Path, tmp_path: Path) -> None:
    source.chmod(mode)
    target = tmp_path / "target"
    before = os.umask(0o022)
    try:
        assert copy_file(str(source), str(target), may_link=True, readable=readable) != LINKED
    finally:
        os.umask(before)
    assert target.read_bytes() == source.read_bytes() and not target.samefile(source)
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_private_file_is_linked_where_the_target_is_private(source: Path, tmp_path: Path) -> None:
    source.chmod(0o600)
    assert copy_file(str(source), str(tmp_path / "target"), may_link=True, readable=0o400) == LINKED


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make a file of another user")
def test_a_file_of_another_user_is_copied(source: Path, tmp_path: Path) -> None:
    os.chown(source, 65534, 65534)
    assert copy_file(str(source), str(tmp_path / "target"), may_link=True) != LINKED


def test_the_file_that_a_link_leads_to_is_copied(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    assert copy_file(str(tmp_path / "link"), str(tmp_path / "target"), may_link=True) != LINKED
    assert (tmp_path / "target").is_file() and not (tmp_path / "target").is_symlink()


@pytest.mark.parametrize(
    "number", [errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP], ids=["EXDEV", "EMLINK", "EPERM", "ENOTSUP"]
)
def test_a_file_that_cannot_be_linked_is_copied(
    number: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", fail)
    assert copy_file(str(source), str(tmp_path / "target"), may_link=True) != LINKED
    assert (tmp_path / "target").read_bytes() == source.read_bytes()


def test_a_file_whose_blocks_cannot_be_shared_is_copied(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_FICLONE", 0)  # an ioctl that no file system has
    assert copy_file(str(source), str(tmp_path / "target"), may_link=False) == COPIED
    assert (tmp_path / "target").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("may_link", [True, False])
def test_an_existing_file_is_not_replaced(may_link: bool, source: Path, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    with pytest.raises(FileExistsError):
        copy_file(str(source), str(tmp_path / "target"), may_link=may_link)
    assert (tmp_path / "target").read_text() == "mine"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotRegularError):
        copy_file(str(tmp_path / "pipe"), str(tmp_path / "target"), may_link=True)
    assert not (tmp_path / "target").exists()
