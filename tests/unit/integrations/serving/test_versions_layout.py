"""Versions of a model: their numbers, what is never touched, and which old ones are removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.serving import list_staging, make_files, make_model, read_published, take_snapshot
from tfimm_resolver.errors import CacheError
from tfimm_resolver.integrations.serving import flat_layout
from tfimm_resolver.integrations.serving.model_files import ModelFiles
from tfimm_resolver.integrations.serving.outcome import Published
from tfimm_resolver.integrations.serving.versions_layout import list_versions, publish_version


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The directory of versions, which does not exist yet."""
    return tmp_path / "served" / "half"


def make(tmp_path: Path, number: int) -> ModelFiles:
    return make_model(tmp_path / f"model{number}", make_files(number), is_cached=True)


def publish(
    base: Path, model: ModelFiles, version: int | None = None, suggested: int | None = None, keep: int = 9
) -> Published:
    return publish_version(model, str(base), version, suggested, keep)


def test_versions_are_numbered_from_one(base: Path, tmp_path: Path) -> None:
    assert [publish(base, make(tmp_path, number)).version for number in range(3)] == [1, 2, 3]
    assert read_published(base / "3") == make_files(2) and list_staging(base) == []


def test_the_layouts_are_not_mixed(base: Path, tmp_path: Path) -> None:
    publish(base, make(tmp_path, 1))
    flat = tmp_path / "flat"
    flat_layout.publish_flat(make(tmp_path, 1), str(flat))
    before = take_snapshot(base), take_snapshot(flat)
    with pytest.raises(CacheError, match="is a flat model"):
        publish(flat, make(tmp_path, 2))
    with pytest.raises(CacheError, match="has versions of a model"):
        flat_layout.publish_flat(make(tmp_path, 2), str(base))
    assert (take_snapshot(base), take_snapshot(flat)) == before


def test_a_version_with_a_file_that_was_replaced_is_neither_removed_nor_replaced(base: Path, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        publish(base, make(tmp_path, number), version=number)
    (base / "1/saved_model.pb").unlink()
    (base / "1/saved_model.pb").write_bytes(b"mine")
    with pytest.raises(CacheError, match=r"saved_model.pb in it was changed"):
        publish(base, make(tmp_path, 1), version=1)
    assert publish(base, make(tmp_path, 4), version=4, keep=1).removed == (3, 2)
    assert (base / "1/saved_model.pb").read_bytes() == b"mine"


def test_run_again_nothing_changes(base: Path, tmp_path: Path) -> None:
    model = make(tmp_path, 1)
    publish(base, model)
    before = take_snapshot(base)
    again = publish(base, model)
    assert (again.state, again.version) == ("unchanged", 1) and take_snapshot(base) == before


@pytest.mark.parametrize(("suggested", "expected"), [(7, 7), (4, 5), (3, 5), (None, 5)])
def test_the_suggested_number_is_used_if_a_server_would_load_it(
    suggested: int | None, expected: int, base: Path, tmp_path: Path
) -> None:
    publish(base, make(tmp_path, 1), version=4)
    assert publish(base, make(tmp_path, 2), suggested=suggested).version == expected


def test_an_earlier_model_becomes_the_highest_version_again(base: Path, tmp_path: Path) -> None:
    assert [publish(base, make(tmp_path, number)).version for number in (1, 2, 1)] == [1, 2, 3]


def test_a_version_of_another_program_counts_for_the_number_and_is_never_touched(base: Path, tmp_path: Path) -> None:
    for name in ("005", "12", "names"):
        make_model(base / name, make_files(9))
    before = take_snapshot(base / "12")
    assert publish(base, make(tmp_path, 1), keep=1).version == 13
    assert publish(base, make(tmp_path, 2), keep=1).version == 14
    assert sorted(os.listdir(base)) == ["005", "12", "14", "names"] and take_snapshot(base / "12") == before
    with pytest.raises(CacheError, match="did not write"):
        publish(base, make(tmp_path, 3), version=12)


def test_a_version_is_not_replaced_by_another_model(base: Path, tmp_path: Path) -> None:
    publish(base, make(tmp_path, 1), version=3)
    before = take_snapshot(base)
    with pytest.raises(CacheError, match="that version is another model, from model model1"):
        publish(base, make(tmp_path, 2), version=3)
    assert take_snapshot(base) == before


def test_a_damaged_version_is_replaced_by_the_same_model(base: Path, tmp_path: Path) -> None:
    publish(base, make(tmp_path, 1), version=3)
    (base / "3" / "variables" / "variables.index").unlink()
    assert publish(base, make(tmp_path, 1), version=3).state == "published"
    assert read_published(base / "3") == make_files(1) and list_staging(base) == []


@pytest.mark.parametrize("has_exchange", [True, False])
def test_a_damaged_version_with_a_file_of_another_program_is_an_error(
    has_exchange: bool, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_exchange:
        monkeypatch.setattr(flat_layout, "exchange", lambda *_: False)
    publish(base, make(tmp_path, 1), version=3)
    (base / "3" / "variables" / "variables.index").unlink()
    (base / "3" / "notes.txt").write_text("mine")
    with pytest.raises(CacheError, match=r"contains notes\.txt"):
        publish(base, make(tmp_path, 1), version=3)
    assert (base / "3" / "notes.txt").read_text() == "mine"


def test_a_version_that_was_renamed_to_another_spelling_is_not_published_twice_under_its_number(
    base: Path, tmp_path: Path
) -> None:
    model = make(tmp_path, 1)
    publish(base, model, version=7)
    (base / "7").rename(base / "007")
    assert publish(base, model).version == 8


def test_an_empty_directory_may_become_a_version(base: Path, tmp_path: Path) -> None:
    (base / "3").mkdir(parents=True)
    assert publish(base, make(tmp_path, 1), version=3).state == "published"


def test_a_link_is_not_a_version_of_ours(base: Path, tmp_path: Path) -> None:
    publish(base, make(tmp_path, 1), version=1)
    (base / "2").symlink_to("1")
    with pytest.raises(CacheError, match="did not write"):
        publish(base, make(tmp_path, 1), version=2)
    publish(base, make(tmp_path, 2), version=3, keep=1)
    assert os.path.islink(base / "2") and sorted(os.listdir(base)) == ["2", "3"]


def test_the_highest_versions_and_the_published_one_are_kept(base: Path, tmp_path: Path) -> None:
    for number in range(1, 6):
        publish(base, make(tmp_path, number))
    assert publish(base, make(tmp_path, 6), keep=2).removed == (4, 3, 2, 1)
    assert sorted(os.listdir(base)) == ["5", "6"]
    assert publish(base, make(tmp_path, 7), version=1, keep=2).removed == ()
    assert sorted(os.listdir(base)) == ["1", "5", "6"]


def test_an_old_version_with_a_file_of_another_program_stays(base: Path, tmp_path: Path) -> None:
    publish(base, make(tmp_path, 1))
    (base / "1" / "notes.txt").touch()
    assert publish(base, make(tmp_path, 2), keep=1).removed == ()
    assert (base / "1" / "notes.txt").exists()


def test_a_file_in_the_stead_of_the_directory_is_an_error(base: Path, tmp_path: Path) -> None:
    base.parent.mkdir()
    base.write_text("mine")
    with pytest.raises(CacheError, match="it is not a directory"):
        publish(base, make(tmp_path, 1))
    assert base.read_text() == "mine"


def test_a_directory_behind_a_link_is_used(base: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    base.parent.mkdir()
    base.symlink_to(tmp_path / "disk")
    publish(base, make(tmp_path, 1))
    assert os.listdir(tmp_path / "disk") == ["1"]


def test_only_numbers_that_a_server_reads_are_versions(tmp_path: Path) -> None:
    for name in ("1", "007", "x", "-2", "1.5", "٣", str(1 << 63), ".tmp-8"):
        (tmp_path / "m" / name).mkdir(parents=True)
    (tmp_path / "m" / "9").touch()
    assert list_versions(str(tmp_path / "m")) == {1: "1", 7: "007"}
    assert list_versions(str(tmp_path / "none")) == {}
