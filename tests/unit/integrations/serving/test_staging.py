"""Staging directories: removed by the next run, and by no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.serving import list_staging, make_model, read_published
from tfimm_resolver.integrations.serving.marker import FILE_NAME
from tfimm_resolver.integrations.serving.staging import PATTERN, Staging, remove_leftovers, shorten_label

OLD_NAME = ".tmp-3-0123abcd.tfimm_resolver"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    return path


def make_leftover(folder: Path, *files: str) -> Path:
    """Make what a killed process left."""
    path = folder / OLD_NAME
    for file in files:
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).touch()
    path.mkdir(exist_ok=True)
    return path


def test_a_staging_directory_is_gone_after_its_block_whatever_happens(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), Staging(str(folder), "3") as staging:
        assert PATTERN.fullmatch(os.path.basename(staging.path))
        Path(staging.tree, "file").touch()
        raise ZeroDivisionError
    assert os.listdir(folder) == []


def test_a_model_is_filled_with_its_marker(folder: Path, tmp_path: Path) -> None:
    model = make_model(tmp_path / "m", is_cached=True)
    with Staging(str(folder), "3") as staging:
        assert sum(staging.fill(model).values()) == 3
        assert len(read_published(staging.tree)) == 3


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_permissions_follow_the_umask(mask: int, folder: Path, tmp_path: Path) -> None:
    model, before = make_model(tmp_path / "m"), os.umask(mask)
    try:
        with Staging(str(folder), "3") as staging:
            staging.fill(model)
            modes = {path.stat().st_mode & 0o777 for path in Path(staging.tree).rglob("*")}
            assert modes == {0o666 & ~mask, 0o777 & ~mask} and os.stat(staging.tree).st_mode & 0o777 == 0o777 & ~mask
    finally:
        os.umask(before)


def test_a_private_cached_file_is_copied_for_readers_of_another_user(folder: Path, tmp_path: Path) -> None:
    model = make_model(tmp_path / "m", is_cached=True)
    (tmp_path / "m" / "saved_model.pb").chmod(0o600)
    with Staging(str(folder), "3") as staging:
        assert staging.fill(model)["linked"] == 2
        assert (Path(staging.tree) / "saved_model.pb").stat().st_mode & 0o044


@pytest.mark.parametrize("files", [(), (FILE_NAME,), (FILE_NAME, "tree/saved_model.pb", "old/2/saved_model.pb")])
def test_what_a_killed_process_left_is_removed(files: tuple[str, ...], folder: Path) -> None:
    make_leftover(folder, *files)
    remove_leftovers(str(folder), "3", is_locked=True)
    assert os.listdir(folder) == []


def test_what_has_no_marker_or_another_label_stays(folder: Path) -> None:
    make_leftover(folder, "mine")
    (folder / ".tmp-mine").mkdir()
    remove_leftovers(str(folder), None, is_locked=True)
    (folder / OLD_NAME / FILE_NAME).touch()
    remove_leftovers(str(folder), "4", is_locked=True)
    assert list_staging(folder) == [OLD_NAME, ".tmp-mine"]


def test_without_a_lock_only_what_is_old_is_removed(folder: Path) -> None:
    path = make_leftover(folder, FILE_NAME)
    remove_leftovers(str(folder), None, is_locked=False)
    assert path.exists()
    os.utime(path, (1, 1))
    remove_leftovers(str(folder), None, is_locked=False)
    assert not path.exists()


def test_a_long_name_is_shortened(folder: Path) -> None:
    label = "ä" * 127
    with Staging(str(folder), label) as staging:
        name = os.path.basename(staging.path)
    match = PATTERN.fullmatch(name)
    assert len(os.fsencode(name)) < 255 and match is not None and match[1] == shorten_label(label)
