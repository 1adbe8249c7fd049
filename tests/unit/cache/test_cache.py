"""The cache on a local disk: publishing, repair, replacement and cleanup."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in
from tests.fakes.named_models import put_model
from tests.fakes.processes import run
from tfimm_resolver.cache.cache import Cache, entry_name_for_key
from tfimm_resolver.cache.local_cleanup import REPLACED_TTL_S
from tfimm_resolver.cache.record import Record
from tfimm_resolver.cache.roots import LocalRoot, open_root
from tfimm_resolver.errors import ArchiveError, CacheError, IntegrityError, NotFoundError, OfflineError, SourceError
from tfimm_resolver.handles.pin import Pin
from tfimm_resolver.locking.owner import new_token
from tfimm_resolver.manifest import FetchResult, FileEntry, Origin

KEY = "https://h/m"
NAME = entry_name_for_key(KEY)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory of the cache, which does not exist yet."""
    return tmp_path / "root"


@pytest.fixture
def cache(root: Path) -> Cache:
    """A cache in ``root``."""
    return Cache(open_root(str(root)))


def make_fetch(files: dict[str, bytes] | None = None, sha256: str = "ab" * 32) -> Callable[[Path, Path], FetchResult]:
    """Return a ``fetch`` callback that writes these files, as if from an archive with that hash."""

    def fetch(into: Path, parts: Path) -> FetchResult:
        put_model(into, files)
        return FetchResult(Origin("https://h/m.tar.gz", "", 7, sha256))

    return fetch


def must_not_fetch(into: Path, parts: Path) -> FetchResult:
    """Fail: the model is complete and must not be fetched."""
    raise AssertionError(f"{into} was fetched again")


def ensure(
    cache: Cache,
    fetch: Callable[[Path, Path], FetchResult] = must_not_fetch,
    *,
    refresh: bool = False,
    sha256: str | None = None,
) -> Path:
    """Ensure the model and return its path."""
    return Path(cache.path(cache.ensure(KEY, KEY, fetch, refresh=refresh, pin=Pin(sha256))))


def test_a_model_is_fetched_once_and_leaves_no_other_files(cache: Cache, root: Path) -> None:
    assert ensure(cache, make_fetch()) == ensure(cache) == root / NAME
    assert files_in(root / NAME) == MODEL
    assert sorted(os.listdir(root)) == [NAME, f"{NAME}.descriptor.txt"]


def test_a_failed_fetch_leaves_nothing(cache: Cache, root: Path) -> None:
    def fetch(into: Path, parts: Path) -> FetchResult:
        put_model(into)
        raise ArchiveError("damaged")

    with pytest.raises(ArchiveError):
        ensure(cache, fetch)
    assert cache.find(KEY) is None and os.listdir(root) == []


def test_an_interrupted_fetch_leaves_nothing(cache: Cache, root: Path) -> None:
    def fetch(into: Path, parts: Path) -> FetchResult:
        put_model(into)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure(cache, fetch)
    assert os.listdir(root) == []


def test_an_archive_without_files_is_rejected(cache: Cache, root: Path) -> None:
    with pytest.raises(ArchiveError, match="no files"):
        ensure(cache, make_fetch({}))
    assert os.listdir(root) == []


@pytest.mark.parametrize("harm", ["every file", "one file", "one byte less", "the directory", "the graph and the record"])
def test_a_damaged_model_is_repaired(cache: Cache, root: Path, harm: str) -> None:
    tree = ensure(cache, make_fetch({**MODEL, "assets/a": b"a"}))
    if harm == "every file":  # as cleaners of temporary files do: directories stay
        for path in [path for path in tree.rglob("*") if path.is_file()]:
            path.unlink()
    elif harm == "one file":
        (tree / "assets/a").unlink()
    elif harm == "one byte less":
        (tree / "assets/a").write_bytes(b"")
    elif harm == "the directory":
        shutil.rmtree(tree)
    else:
        (tree / "saved_model.pb").unlink()
        (root / f"{NAME}.descriptor.txt").unlink()
    assert cache.find(KEY) is None
    assert ensure(cache, make_fetch()) == tree and files_in(tree) == MODEL
    assert sorted(os.listdir(root)) == [NAME, f"{NAME}.descriptor.txt"]


def test_offline_the_error_names_the_missing_file(cache: Cache) -> None:
    def offline(into: Path, parts: Path) -> FetchResult:
        raise OfflineError("the network is off")

    tree = ensure(cache, make_fetch())
    (tree / "saved_model.pb").unlink()
    with pytest.raises(OfflineError, match=r"damaged \(saved_model.pb is missing\)"):
        ensure(cache, offline)


def test_offline_a_complete_copy_that_does_not_match_a_pin_is_not_called_damaged(cache: Cache, root: Path) -> None:
    def offline(into: Path, parts: Path) -> FetchResult:
        raise OfflineError("the network is off")

    put_model(root / NAME)
    with pytest.raises(OfflineError, match=r"^the network is off\n  the cached copy is unchanged$"):
        ensure(cache, offline, sha256="ab" * 32)


def test_the_error_of_a_failed_fetch_describes_the_cached_copy(cache: Cache) -> None:
    def fail(into: Path, parts: Path) -> FetchResult:
        raise NotFoundError("404", fix="Check it.", status=404)

    tree = ensure(cache, make_fetch())
    with pytest.raises(NotFoundError, match="404\n  the cached copy is unchanged") as caught:
        ensure(cache, fail, refresh=True)
    assert (caught.value.fix, caught.value.status) == ("Check it.", 404)
    (tree / "saved_model.pb").unlink()
    with pytest.raises(NotFoundError, match=r"the cached copy is damaged .saved_model.pb is missing. and 404"):
        ensure(cache, fail)


def test_a_changed_upstream_is_logged_when_a_damaged_model_is_replaced(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    (ensure(cache, make_fetch()) / "saved_model.pb").unlink()
    (ensure(cache, make_fetch()) / "saved_model.pb").unlink()
    assert "changed upstream" not in caplog.text
    ensure(cache, make_fetch(sha256="cd" * 32))
    assert f"{KEY} has changed upstream: archive sha256 is now {'cd' * 32}, was {'ab' * 32}" in caplog.text


def test_a_tree_by_plain_tensorflow_hub_or_by_hand_counts(cache: Cache, root: Path) -> None:
    put_model(root / NAME)
    assert ensure(cache) == root / NAME


def test_a_refresh_with_the_same_content_changes_only_the_time(cache: Cache, root: Path) -> None:
    tree = ensure(cache, make_fetch())
    before, inode = cache.find(KEY), (tree / "saved_model.pb").stat().st_ino
    assert ensure(cache, make_fetch(), refresh=True) == tree
    after = cache.find(KEY)
    assert before and after and before.fetched_at < after.fetched_at
    assert (tree / "saved_model.pb").stat().st_ino == inode
    assert sorted(os.listdir(root)) == [NAME, f"{NAME}.descriptor.txt"]


def test_a_refresh_with_other_content_leaves_the_old_tree_for_its_readers(cache: Cache) -> None:
    old = ensure(cache, make_fetch())
    new = ensure(cache, make_fetch({"saved_model.pb": b"another graph"}), refresh=True)
    assert new != old and new.name.startswith(f"{NAME}.")
    assert files_in(old) == MODEL and files_in(new) == {"saved_model.pb": b"another graph"}
    assert ensure(cache) == new


def test_a_failed_refresh_keeps_the_old_copy(cache: Cache) -> None:
    old = ensure(cache, make_fetch())
    with pytest.raises(ArchiveError):
        ensure(cache, make_fetch({}), refresh=True)
    assert ensure(cache) == old and files_in(old) == MODEL


def test_a_refresh_repairs_changed_bytes_of_the_same_size(cache: Cache) -> None:
    tree = ensure(cache, make_fetch())
    (tree / "saved_model.pb").write_bytes(b"a grapH")
    assert files_in(ensure(cache, make_fetch(), refresh=True)) == MODEL


def test_changed_bytes_of_the_same_size_are_repaired_under_the_same_name(cache: Cache, root: Path) -> None:
    tree = ensure(cache, make_fetch())
    (tree / "saved_model.pb").write_bytes(b"a grapH")
    assert ensure(cache, make_fetch(), refresh=True) == tree  # plain tensorflow_hub would go on serving it
    assert sorted(os.listdir(root)) == [NAME, f"{NAME}.descriptor.txt"]


def test_a_replaced_tree_is_removed_by_a_later_fetch_after_an_hour(cache: Cache, root: Path) -> None:
    old = ensure(cache, make_fetch())
    os.utime(old, (0, 0))  # created long ago; what counts is when it was replaced
    new = ensure(cache, make_fetch({"saved_model.pb": b"another graph"}), refresh=True)
    cache.ensure("https://h/other", "https://h/other", make_fetch())
    assert old.exists()
    os.utime(old, (0, time.time() - REPLACED_TTL_S - 1))
    cache.ensure("https://h/third", "https://h/third", make_fetch())
    assert not old.exists() and ensure(cache) == new
    assert files_in(ensure(cache, make_fetch(), refresh=True)) == MODEL


def test_repairing_a_damaged_tree_leaves_a_replaced_one_alone(cache: Cache) -> None:
    old = ensure(cache, make_fetch())
    new = ensure(cache, make_fetch({"saved_model.pb": b"another graph"}), refresh=True)
    (new / "saved_model.pb").unlink()
    healed = ensure(cache, make_fetch({"saved_model.pb": b"another graph"}))
    assert files_in(healed) == {"saved_model.pb": b"another graph"} and files_in(old) == MODEL


@pytest.mark.parametrize("is_same", [True, False])
def test_a_rename_lost_to_another_process_is_success(cache: Cache, root: Path, is_same: bool) -> None:
    def fetch(into: Path, parts: Path) -> FetchResult:
        put_model(root / NAME, MODEL if is_same else {"saved_model.pb": b"another process"})
        return make_fetch()(into, parts)

    tree = ensure(cache, fetch)
    assert (tree == root / NAME) is is_same
    assert files_in(tree) == MODEL and cache.find(KEY)


def test_a_pin_is_compared_with_the_record(cache: Cache) -> None:
    tree = ensure(cache, make_fetch())
    assert ensure(cache, sha256="ab" * 32) == tree
    with pytest.raises(IntegrityError) as caught:
        ensure(cache, sha256="cd" * 32)
    assert "ab" * 32 in str(caught.value) and "cd" * 32 in str(caught.value)


def test_a_tree_without_a_record_cannot_satisfy_a_pin_and_is_fetched_again(cache: Cache, root: Path) -> None:
    put_model(root / NAME, {"saved_model.pb": b"unknown"})
    tree = ensure(cache, make_fetch(), sha256="ab" * 32)
    assert files_in(tree) == MODEL
    assert ensure(cache, sha256="ab" * 32) == tree


def test_a_record_that_names_a_tree_elsewhere_is_not_believed(cache: Cache, root: Path, tmp_path: Path) -> None:
    ensure(cache, make_fetch())
    elsewhere = put_model(tmp_path / "elsewhere")
    text = (root / f"{NAME}.descriptor.txt").read_text()
    (root / f"{NAME}.descriptor.txt").write_text(text.replace(f'"tree": "{NAME}"', f'"tree": "../{elsewhere.name}"'))
    assert ensure(cache) == root / NAME


def test_the_record_is_hubs_lines_and_json(cache: Cache, root: Path) -> None:
    ensure(cache, make_fetch())
    head, _, body = (root / f"{NAME}.descriptor.txt").read_text().partition("\n\n")
    assert head.startswith(f"Module: {KEY}\n") and len(head.splitlines()) == 3
    facts = json.loads(body)
    assert facts["origin"]["sha256"] == "ab" * 32 and {file["path"] for file in facts["files"]} == set(MODEL)


def test_entries_lists_complete_damaged_and_unrecorded_models(cache: Cache, root: Path) -> None:
    ensure(cache, make_fetch())
    cache.ensure("b", "b", make_fetch())
    (root / entry_name_for_key("b") / "saved_model.pb").unlink()
    put_model(root / entry_name_for_key("c"))
    defects = {entry.name: (entry.record.files is not None, entry.defect) for entry in cache.entries()}
    assert defects == {
        NAME: (True, None),
        entry_name_for_key("b"): (True, "saved_model.pb is missing"),
        entry_name_for_key("c"): (False, None),
    }


def test_leftovers_of_a_dead_process_are_removed_before_the_next_fetch(cache: Cache, root: Path) -> None:
    dead = run("from tfimm_resolver.locking.owner import new_token; print(new_token())")
    other = entry_name_for_key("https://h/other")
    alive = f"{other}.{new_token()}.tmp"
    of_an_earlier_container = f"{NAME}.{new_token()}.tmp"  # with the PID that this process has now
    for name in (f"{NAME}.{dead}.tmp", f"{other}.{dead}.tmp", of_an_earlier_container, alive):
        put_model(root / name)
    (root / f"{NAME}.{dead}.txt").write_text("half a record")

    def fetch(into: Path, parts: Path) -> FetchResult:
        assert sorted(os.listdir(root)) == sorted([into.name, f"{NAME}.lock", alive])
        return make_fetch()(into, parts)

    ensure(cache, fetch)


def test_files_that_another_program_removes_are_noticed(cache: Cache, root: Path) -> None:
    def fetch(into: Path, parts: Path) -> FetchResult:
        fetched = make_fetch()(into, parts)
        (into / "saved_model.pb").unlink()
        return fetched._replace(files=tuple(FileEntry(path, len(data), "") for path, data in MODEL.items()))

    with pytest.raises(IntegrityError, match="unpacked 3 files"):
        ensure(cache, fetch)
    assert os.listdir(root) == []


def _raise_after_removal(error: Exception | None) -> Callable[[Path, Path], FetchResult]:
    """Return a ``fetch`` callback whose directory another program removes; then it fails, or succeeds if ``error`` is None."""

    def fetch(into: Path, parts: Path) -> FetchResult:
        fetched = make_fetch()(into, parts)
        shutil.rmtree(into)
        if error is not None:
            raise error from FileNotFoundError(errno.ENOENT, "No such file or directory", str(into))
        return fetched

    return fetch


def _call_in_turn(calls: list[Callable[[Path, Path], FetchResult]]) -> Callable[[Path, Path], FetchResult]:
    """Return a ``fetch`` callback that calls the first of these, and removes it from the list; each may be called once."""

    def fetch(into: Path, parts: Path) -> FetchResult:
        return calls.pop(0)(into, parts)

    return fetch


_REMOVED = FileNotFoundError(errno.ENOENT, "No such file or directory")


@pytest.mark.parametrize("error", [None, _REMOVED, CacheError("cannot write"), SourceError("it failed")], ids=repr)
def test_a_directory_that_another_program_removes_midway_is_fetched_again_once(
    cache: Cache, root: Path, error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    calls = [_raise_after_removal(error), make_fetch()]
    assert files_in(ensure(cache, _call_in_turn(calls))) == MODEL
    assert "another program removed" in caplog.text and calls == []
    assert sorted(os.listdir(root)) == [NAME, f"{NAME}.descriptor.txt"]


def test_a_directory_that_another_program_removes_twice_is_an_error_that_names_it(cache: Cache, root: Path) -> None:
    calls = [_raise_after_removal(None), _raise_after_removal(None)]
    with pytest.raises(CacheError, match=rf"another program removed {root}/{NAME}\..*\.tmp .*\n  Exclude that directory"):
        ensure(cache, _call_in_turn(calls))
    assert calls == [] and os.listdir(root) == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (_REMOVED, "No such file or directory"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "The disk is failing"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "Free some disk space"),
        (MemoryError(), "does not have enough memory"),
        (RecursionError(), "nested too deeply"),
    ],
    ids=repr,
)
def test_any_error_of_the_system_in_a_fetch_is_a_cache_error(cache: Cache, root: Path, error: Exception, text: str) -> None:
    def fetch(into: Path, parts: Path) -> FetchResult:
        raise error

    with pytest.raises(CacheError, match=text):
        ensure(cache, _call_in_turn([fetch]))
    assert os.listdir(root) == []


def test_an_archive_of_directories_only_is_rejected(cache: Cache, root: Path) -> None:
    def fetch(into: Path, parts: Path) -> FetchResult:
        (into / "a").mkdir()
        return FetchResult(Origin(sha256="ab" * 32))

    with pytest.raises(ArchiveError, match="no files"):
        ensure(cache, fetch)
    assert os.listdir(root) == []


def test_a_replaced_tree_that_cannot_be_removed_does_not_fail_a_fetch(
    cache: Cache, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ensure(cache, make_fetch())
    ensure(cache, make_fetch({"saved_model.pb": b"another graph"}), refresh=True)
    os.utime(old, (0, 0))
    rename = os.rename

    def deny(source: str, target: str) -> None:
        if str(source) == str(old):
            raise PermissionError(1, "another user's", source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", deny)
    cache.ensure("https://h/other", "https://h/other", make_fetch())
    assert old.exists() and cache.find("https://h/other")


def test_a_tree_with_a_dangling_link_can_be_refreshed(cache: Cache, root: Path) -> None:
    (put_model(root / NAME) / "link").symlink_to("nowhere")
    assert files_in(ensure(cache, make_fetch(), refresh=True)) == MODEL


@pytest.mark.timeout(30)
@pytest.mark.parametrize("where", ["record", "tree"])
@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_pipes_and_devices_do_not_block_and_are_replaced(
    where: str, put: Callable[[Path], None], cache: Cache, root: Path
) -> None:
    tree = put_model(root / NAME)
    put(root / f"{NAME}.descriptor.txt" if where == "record" else tree / "assets.extra")
    assert files_in(ensure(cache, make_fetch(), refresh=True)) == MODEL
    assert cache.find(KEY) is not None and list(cache.root.verify_hashes(cache.find(KEY))) == []


def test_a_removed_model_leaves_nothing(cache: Cache, root: Path) -> None:
    ensure(cache, make_fetch())
    ensure(cache, make_fetch({"saved_model.pb": b"another graph"}), refresh=True)
    cache.remove(NAME)
    assert cache.find(KEY) is None and os.listdir(root) == []


def test_files_and_directories_have_the_mode_that_the_umask_leaves(cache: Cache, tmp_path: Path) -> None:
    tree = ensure(cache, make_fetch())
    (tmp_path / "plain").mkdir()
    assert tree.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tree.parent / f"{NAME}.descriptor.txt").stat().st_mode & 0o044 == 0o044


def test_an_unknown_record_keeps_its_handle() -> None:
    assert Record.parse("", NAME) == Record("", NAME)


def test_a_cache_with_its_own_entry_names_works_the_same(root: Path) -> None:
    local = LocalRoot(str(root), entry_pattern=re.compile(r"(model-[a-z]+)(\.[0-9a-f]{8})?"))
    cache = Cache(local, lambda key: f"model-{key}")
    first = cache.ensure("one", "a", make_fetch())
    assert (first.tree, cache.path(first)) == ("model-a", f"{root}/model-a") and cache.find("a") == first
    second = cache.ensure("one", "a", make_fetch({"saved_model.pb": b"another"}), refresh=True)
    assert re.fullmatch(r"model-a\.[0-9a-f]{8}", second.tree) and cache.find("a") == second
    assert files_in(cache.path(first)) == MODEL, "its readers are not disturbed"
    os.utime(root / "model-a", (0, 0))
    cache.ensure("two", "b", make_fetch())
    assert not (root / "model-a").exists(), "it is removed after an hour"
    put_model(root / "resnet18")
    assert [entry.name for entry in cache.entries()] == ["model-a", "model-b"]
    cache.remove("model-a")
    assert sorted(os.listdir(root)) == ["model-b", "model-b.descriptor.txt", "resnet18"]


def test_a_parts_directory_of_another_program_is_left_alone(cache: Cache, root: Path) -> None:
    for folder in (root / "engine.parts", root / f"{entry_name_for_key('b')}.parts"):
        put_model(folder)
        for path in (folder, *folder.rglob("*")):
            os.utime(path, (0, 0))
    cache.ensure("a", "a", make_fetch())
    assert (root / "engine.parts/saved_model.pb").exists() and not (root / f"{entry_name_for_key('b')}.parts").exists()


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "C:/x", "a\x7f"])
def test_a_name_that_no_reader_accepts_is_not_published(name: str, cache: Cache, root: Path) -> None:
    """The files of a plug-in's source reach the cache without an extractor, which checks their names."""
    with pytest.raises(ArchiveError, match="does not stay inside"):
        ensure(cache, make_fetch({**MODEL, name: b"x"}))
    assert os.listdir(root) == []
