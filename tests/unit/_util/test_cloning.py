"""Tests of ``_util.cloning``."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tfimm_resolver._util import cloning, fs


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(os.urandom(3 << 20))
    path.chmod(0o640)
    return path


def clone(source: Path, target: Path, *, may_link: bool) -> str:
    return cloning.clone(str(source), str(target), may_link=lambda _: may_link)


@pytest.mark.parametrize("may_link", [True, False])
def test_a_file_is_cloned(may_link: bool, source: Path, tmp_path: Path) -> None:
    before = source.stat()
    method = clone(source, tmp_path / "target", may_link=may_link)
    assert (tmp_path / "target").read_bytes() == source.read_bytes()
    assert method in ((cloning.REFLINK, cloning.HARD_LINK) if may_link else (cloning.REFLINK, cloning.COPY))
    assert (source.stat().st_mode, source.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert may_link or not (tmp_path / "target").samefile(source)


def test_the_status_of_the_file_decides_about_a_link(source: Path, tmp_path: Path) -> None:
    seen = list[int]()
    cloning.clone(str(source), str(tmp_path / "target"), may_link=lambda status: bool(seen.append(status.st_mode)))
    assert [stat.S_IMODE(mode) for mode in seen] == [0o640]


def test_a_disk_without_hard_links_gets_a_copy(source: Path, tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == source.stat().st_dev:
        pytest.skip("no second disk")
    target = other / f"{tmp_path.parent.name}-{tmp_path.name}-{os.getpid()}"
    try:
        assert clone(source, target, may_link=True) == cloning.COPY
        assert target.read_bytes() == source.read_bytes()
    finally:
        target.unlink()


def test_a_target_is_never_replaced(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    for may_link in (True, False):
        with pytest.raises(FileExistsError):
            clone(source, target, may_link=may_link)
    assert target.read_bytes() == b"mine"


def test_a_link_is_not_followed_and_a_pipe_does_not_block(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    os.mkfifo(tmp_path / "pipe")
    for name, kind in (("link", OSError), ("pipe", fs.NotRegularError), ("gone", FileNotFoundError)):
        with pytest.raises(kind):
            clone(tmp_path / name, tmp_path / "target", may_link=True)
    assert not (tmp_path / "target").exists()


def test_a_file_that_was_replaced_after_it_was_opened_is_copied(source: Path, tmp_path: Path) -> None:
    data, other = source.read_bytes(), tmp_path / "other"
    other.write_bytes(b"planted")

    def replace(_: os.stat_result) -> bool:
        os.replace(other, source)
        return True

    method = cloning.clone(str(source), str(tmp_path / "target"), may_link=replace)
    assert (tmp_path / "target").read_bytes() == data and method != cloning.HARD_LINK


def test_a_file_that_grows_meanwhile_is_refused(source: Path, tmp_path: Path) -> None:
    def grow(_: os.stat_result) -> bool:
        with source.open("ab") as file:
            file.write(b"more")
        return False

    with pytest.raises(cloning.ChangedFileError):
        cloning.clone(str(source), str(tmp_path / "target"), may_link=grow)
