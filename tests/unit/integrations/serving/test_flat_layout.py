"""A model in a directory that the user names: in one step, or file by file where the directory has to stay the same one."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL
from tests.fakes.serving import list_staging, make_files, make_model, read_published, take_snapshot
from tfimm_resolver.errors import CacheError
from tfimm_resolver.integrations.serving import flat_layout
from tfimm_resolver.integrations.serving.flat_layout import publish_flat
from tfimm_resolver.integrations.serving.marker import FILE_NAME, Marker, read_marker, write_marker
from tfimm_resolver.integrations.serving.model_files import ModelFiles

FOREIGN = ("notes.txt", "variables/notes.txt", "empty/", FILE_NAME)


@pytest.fixture
def models(tmp_path: Path) -> tuple[ModelFiles, ModelFiles]:
    """Two models, the second with a file more and one less."""
    second = {**make_files(2), "assets/words": b"two"}
    del second["variables/variables.index"]
    return make_model(tmp_path / "one", make_files(1), is_cached=True), make_model(tmp_path / "two", second, is_cached=True)


@pytest.fixture(params=["replaced", "filled"])
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that may be replaced, or one that has to be filled, since it is the working directory."""
    path = tmp_path / "target"
    if request.param == "filled":
        path.mkdir()
        monkeypatch.chdir(path)
    return path


def read(folder: str | Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_a_model_is_published_and_later_replaced_by_another(models: tuple[ModelFiles, ModelFiles], target: Path) -> None:
    for model in (*models, models[0]):
        published = publish_flat(model, str(target))
        assert (published.state, published.files, published.path) == ("published", 3, str(target))
        assert read_published(target) == read(model.path) and published.linked == 3
        assert list_staging(target) == list_staging(target.parent) == []


def test_the_directory_stays_the_same_one_only_where_it_has_to(models: tuple[ModelFiles, ModelFiles], target: Path) -> None:
    must_stay = target.exists()
    target.mkdir(exist_ok=True)
    inode = target.stat().st_ino
    publish_flat(models[0], str(target))
    assert (target.stat().st_ino == inode) is must_stay


def test_run_again_nothing_changes(models: tuple[ModelFiles, ModelFiles], target: Path) -> None:
    publish_flat(models[0], str(target))
    before = take_snapshot(target)
    assert publish_flat(models[0], str(target)).state == "unchanged"
    assert take_snapshot(target) == before


def test_a_damaged_copy_is_replaced(models: tuple[ModelFiles, ModelFiles], target: Path) -> None:
    publish_flat(models[0], str(target))
    (target / "saved_model.pb").unlink()
    assert publish_flat(models[0], str(target)).state == "published"
    assert read_published(target) == read(models[0].path)


def replace_file(path: Path, how: str) -> None:
    """Put a user's own file in place of one that was published."""
    before = path.stat()
    path.unlink()
    path.write_bytes(b"m" * (before.st_size + (how == "another size")))
    if how == "same size and time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("how", ["another size", "same size", "same size and time"])
@pytest.mark.parametrize("member", ["saved_model.pb", "variables/variables.index"])
def test_a_file_that_was_replaced_stays_and_is_an_error(
    member: str, how: str, models: tuple[ModelFiles, ModelFiles], target: Path
) -> None:
    publish_flat(models[0], str(target))
    replace_file(target / member, how)
    before = take_snapshot(target)
    with pytest.raises(CacheError, match=f"{member} in it was changed"):
        publish_flat(models[1], str(target))
    assert take_snapshot(target) == before and list_staging(target.parent) == []


def test_links_that_come_and_go_are_not_changes(models: tuple[ModelFiles, ModelFiles], target: Path, tmp_path: Path) -> None:
    publish_flat(models[0], str(target))
    for path in [*target.rglob("*")]:
        if path.is_file():
            os.link(path, tmp_path / "link")
            os.utime(path)
            (tmp_path / "link").unlink()
    assert publish_flat(models[1], str(target)).state == "published"


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("is_published", [False, True])
def test_what_another_program_wrote_stays_and_is_an_error(
    is_published: bool, foreign: str, models: tuple[ModelFiles, ModelFiles], target: Path
) -> None:
    if is_published:
        publish_flat(models[0], str(target))
    path = target / foreign
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if foreign.endswith("/") else path.write_text("mine")
    before = take_snapshot(target)
    with pytest.raises(CacheError, match=rf"contains {foreign.rstrip('/').split('/')[0]}"):
        publish_flat(models[1], str(target))
    assert take_snapshot(target) == before and list_staging(target.parent) == []


def test_a_later_file_of_another_program_does_not_disturb_a_model_that_is_published(
    models: tuple[ModelFiles, ModelFiles], target: Path
) -> None:
    publish_flat(models[0], str(target))
    (target / "notes.txt").touch()
    assert publish_flat(models[0], str(target)).state == "unchanged"


def test_a_file_that_appears_at_the_last_moment_stays(
    models: tuple[ModelFiles, ModelFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    publish_flat(models[0], str(target))
    exchange = flat_layout.exchange

    def write_and_exchange(one: str, other: str) -> bool:
        monkeypatch.setattr(flat_layout, "exchange", exchange)
        (target / "notes.txt").write_text("mine")
        return exchange(one, other)

    monkeypatch.setattr(flat_layout, "exchange", write_and_exchange)
    with pytest.raises(CacheError, match=r"contains notes\.txt"):
        publish_flat(models[1], str(target))
    assert (target / "notes.txt").read_text() == "mine" and (target / "saved_model.pb").read_bytes() == b"1 a graph"


def test_where_directories_cannot_be_exchanged_they_are_renamed(
    models: tuple[ModelFiles, ModelFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat_layout, "exchange", lambda *_: False)
    for model in models:
        publish_flat(model, str(tmp_path / "target"))
    assert read_published(tmp_path / "target") == read(models[1].path) and list_staging(tmp_path) == []


def make_file(path: Path) -> None:
    path.touch()


def make_link(path: Path) -> None:
    path.with_name("real").mkdir()
    path.symlink_to("real")


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [make_file, make_link, make_dangling_link, os.mkfifo])
def test_what_is_not_a_directory_stays_and_is_an_error(
    make: Callable[[Path], None], models: tuple[ModelFiles, ModelFiles], tmp_path: Path
) -> None:
    make(tmp_path / "target")
    before = take_snapshot(tmp_path)
    with pytest.raises(CacheError, match=r"it is (not a directory|a symbolic link)"):
        publish_flat(models[0], str(tmp_path / "target"))
    assert take_snapshot(tmp_path) == before


def test_an_existing_directory_keeps_its_permissions(models: tuple[ModelFiles, ModelFiles], tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    target.chmod(0o2770)
    publish_flat(models[0], str(target))
    assert target.stat().st_mode & 0o7777 == 0o2770


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EXDEV, errno.EACCES], ids=["EBUSY", "EXDEV", "EACCES"])
def test_a_directory_that_cannot_be_renamed_over_must_stay(
    number: int, models: tuple[ModelFiles, ModelFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    rename = flat_layout.fs.durable_rename

    def fail_at_target(old: str, new: str) -> None:
        if new == str(target):
            raise OSError(number, os.strerror(number))
        rename(old, new)

    monkeypatch.setattr(flat_layout.fs, "durable_rename", fail_at_target)
    publish_flat(models[0], str(target))
    assert read_published(target) == read(models[0].path) and list_staging(tmp_path) == list_staging(target) == []


def test_the_cache_in_the_directory_and_staging_do_not_count(
    models: tuple[ModelFiles, ModelFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    (target / ".cache" / "tfhub").mkdir(parents=True)
    (target / ".cache" / "tfhub" / "model").touch()
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(target / ".cache" / "tfhub"))
    publish_flat(models[0], str(target))
    assert (target / ".cache" / "tfhub" / "model").exists() and (target / "saved_model.pb").exists()
    publish_flat(models[1], str(target))
    assert (target / ".cache" / "tfhub" / "model").exists() and (target / "assets" / "words").exists()


@contextlib.contextmanager
def dying_at(monkeypatch: pytest.MonkeyPatch, count: int) -> Iterator[None]:
    """Raise KeyboardInterrupt at the ``count``-th rename, without any cleaning up, as a kill does."""
    rename, left = os.rename, [count]

    def rename_or_die(old: str, new: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        rename(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename_or_die)
        patch.setattr(flat_layout.Staging, "__exit__", lambda *_: None)
        yield


@pytest.mark.parametrize("count", range(1, 7))
def test_a_fill_that_was_killed_between_two_renames_is_completed(
    count: int, models: tuple[ModelFiles, ModelFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    monkeypatch.chdir(target)
    publish_flat(models[0], str(target))
    with dying_at(monkeypatch, count), contextlib.suppress(KeyboardInterrupt):
        publish_flat(models[1], str(target))
    if (target / "saved_model.pb").exists():  # then everything else of its model is there, too
        number = (target / "saved_model.pb").read_bytes()[:1]
        assert (target / "variables" / "variables.data-00000-of-00001").read_bytes()[:1] == number
        assert (target / "assets").exists() is (number == b"2")
    publish_flat(models[1], str(target))
    assert read_published(target) == read(models[1].path) and list_staging(target) == []


def test_a_fill_that_was_killed_is_not_taken_for_complete_because_all_sizes_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    monkeypatch.chdir(target)
    publish_flat(make_model(tmp_path / "first", make_files(1)), str(target))
    second = make_model(tmp_path / "second", make_files(2))
    with dying_at(monkeypatch, 1), contextlib.suppress(KeyboardInterrupt):
        publish_flat(second, str(target))
    assert publish_flat(second, str(target)).state == "published"
    assert read_published(target) == make_files(2)


def test_what_an_interrupted_fill_had_planned_counts_as_ours_and_nothing_else(
    models: tuple[ModelFiles, ModelFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    make_model(target, MODEL)
    monkeypatch.chdir(target)
    marker = Marker("m", "", dict.fromkeys(MODEL, 1), is_complete=False)
    write_marker(marker, str(target), str(tmp_path))
    publish_flat(models[0], str(target))
    found = read_marker(str(target))
    assert found is not None and found.is_complete and found.content == models[0].content
