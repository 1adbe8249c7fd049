"""The cache on a local disk: what is published, healed, replaced and left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.archives import MODEL, files_in
from tests.processes import run
from tests.test_names import put_model
from tfimm_resolver.cache.cache import Cache, entry_name_for_key
from tfimm_resolver.cache.local_root import REPLACED_TTL_S
from tfimm_resolver.cache.record import Record
from tfimm_resolver.cache.roots import LocalRoot, open_root
from tfimm_resolver.errors import ArchiveError, IntegrityError, NotFoundError, OfflineError
from tfimm_resolver.locking.owner import new_token
from tfimm_resolver.manifest import FetchResult, FileEntry, Origin

KEY = "https://h/m"
NAME = entry_name_for_key(KEY)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory of the cache; not made yet."""
    return tmp_path / "root"


@pytest.fixture
def cache(root: Path) -> Cache:
    """The cache."""
    return Cache(open_root(str(root)))


def filler(files: dict[str, bytes] | None = None, sha256: str = "ab" * 32) -> Callable[[Path, Path], FetchResult]:
    """Fills with files, as if they came from an archive of that hash."""

    def fill(into: Path, parts: Path) -> FetchResult:
        put_model(into, files)
        return FetchResult(Origin("https://h/m.tar.gz", "", 7, sha256))

    return fill


def unwanted(into: Path, parts: Path) -> FetchResult:
    """Must not be called."""
    raise AssertionError(f"{into} was filled again")


def ensured(
    cache: Cache, fill: Callable[[Path, Path], FetchResult] = unwanted, *, refresh: bool = False, sha256: str | None = None
) -> Path:
    """The path of the model, ensured."""
    return Path(cache.path(cache.ensure(KEY, KEY, fill, refresh=refresh, sha256=sha256)))


def test_a_model_is_filled_once_and_nothing_else_is_left(cache: Cache, root: Path) -> None:
    assert ensured(cache, filler()) == ensured(cache) == root / NAME
    assert files_in(root / NAME) == MODEL
    assert sorted(os.listdir(root)) == [NAME, f"{NAME}.descriptor.txt"]


def test_what_failed_to_be_filled_leaves_nothing(cache: Cache, root: Path) -> None:
    def fill(into: Path, parts: Path) -> FetchResult:
        put_model(into)
        raise ArchiveError("damaged")

    with pytest.raises(ArchiveError):
        ensured(cache, fill)
    assert cache.find(KEY) is None and os.listdir(root) == []


def test_an_interrupted_fill_leaves_nothing(cache: Cache, root: Path) -> None:
    def fill(into: Path, parts: Path) -> FetchResult:
        put_model(into)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensured(cache, fill)
    assert os.listdir(root) == []


def test_an_archive_without_files_is_refused(cache: Cache, root: Path) -> None:
    with pytest.raises(ArchiveError, match="no files"):
        ensured(cache, filler({}))
    assert os.listdir(root) == []


@pytest.mark.parametrize("harm", ["every file", "one file", "one byte less", "the directory", "the graph and the record"])
def test_a_damaged_model_heals(cache: Cache, root: Path, harm: str) -> None:
    tree = ensured(cache, filler({**MODEL, "assets/a": b"a"}))
    if harm == "every file":  # as temp cleaners do: folders stay
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
    assert ensured(cache, filler()) == tree and files_in(tree) == MODEL
    assert sorted(os.listdir(root)) == [NAME, f"{NAME}.descriptor.txt"]


def test_offline_the_error_names_the_missing_file(cache: Cache) -> None:
    def offline(into: Path, parts: Path) -> FetchResult:
        raise OfflineError("the network is off")

    tree = ensured(cache, filler())
    (tree / "saved_model.pb").unlink()
    with pytest.raises(OfflineError, match=r"damaged \(saved_model.pb is missing\)"):
        ensured(cache, offline)


def test_offline_a_whole_copy_that_cannot_keep_a_pin_is_not_called_damaged(cache: Cache, root: Path) -> None:
    def offline(into: Path, parts: Path) -> FetchResult:
        raise OfflineError("the network is off")

    put_model(root / NAME)
    with pytest.raises(OfflineError, match=r"^the network is off\n  the cached copy stays$"):
        ensured(cache, offline, sha256="ab" * 32)


def test_a_fetch_that_fails_tells_what_is_the_matter_with_the_cached_copy(cache: Cache) -> None:
    def refused(into: Path, parts: Path) -> FetchResult:
        raise NotFoundError("404", fix="Check it.", status=404)

    tree = ensured(cache, filler())
    with pytest.raises(NotFoundError, match="404\n  the cached copy stays") as caught:
        ensured(cache, refused, refresh=True)
    assert (caught.value.fix, caught.value.status) == ("Check it.", 404)
    (tree / "saved_model.pb").unlink()
    with pytest.raises(NotFoundError, match=r"the cached copy is damaged .saved_model.pb is missing. and 404"):
        ensured(cache, refused)


def test_another_model_in_the_place_of_a_damaged_one_is_told(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    (ensured(cache, filler()) / "saved_model.pb").unlink()
    (ensured(cache, filler()) / "saved_model.pb").unlink()
    assert "another model" not in caplog.text
    ensured(cache, filler(sha256="cd" * 32))
    assert f"{KEY} is another model by now: its archive has sha256 {'cd' * 32}, had {'ab' * 32}" in caplog.text


def test_a_tree_by_plain_tensorflow_hub_or_by_hand_counts(cache: Cache, root: Path) -> None:
    put_model(root / NAME)
    assert ensured(cache) == root / NAME


def test_a_refresh_with_the_same_content_changes_only_the_time(cache: Cache, root: Path) -> None:
    tree = ensured(cache, filler())
    before, inode = cache.find(KEY), (tree / "saved_model.pb").stat().st_ino
    assert ensured(cache, filler(), refresh=True) == tree
    after = cache.find(KEY)
    assert before and after and before.fetched_at < after.fetched_at
    assert (tree / "saved_model.pb").stat().st_ino == inode
    assert sorted(os.listdir(root)) == [NAME, f"{NAME}.descriptor.txt"]


def test_a_refresh_with_other_content_leaves_the_old_tree_for_its_readers(cache: Cache) -> None:
    old = ensured(cache, filler())
    new = ensured(cache, filler({"saved_model.pb": b"another graph"}), refresh=True)
    assert new != old and new.name.startswith(f"{NAME}.")
    assert files_in(old) == MODEL and files_in(new) == {"saved_model.pb": b"another graph"}
    assert ensured(cache) == new


def test_a_failed_refresh_leaves_the_old_copy_in_force(cache: Cache) -> None:
    old = ensured(cache, filler())
    with pytest.raises(ArchiveError):
        ensured(cache, filler({}), refresh=True)
    assert ensured(cache) == old and files_in(old) == MODEL


def test_a_refresh_mends_bytes_that_no_size_betrays(cache: Cache) -> None:
    tree = ensured(cache, filler())
    (tree / "saved_model.pb").write_bytes(b"a grapH")
    assert files_in(ensured(cache, filler(), refresh=True)) == MODEL


def test_bytes_that_no_size_betrays_are_mended_under_the_same_name(cache: Cache, root: Path) -> None:
    tree = ensured(cache, filler())
    (tree / "saved_model.pb").write_bytes(b"a grapH")
    assert ensured(cache, filler(), refresh=True) == tree  # plain tensorflow_hub would go on serving it
    assert sorted(os.listdir(root)) == [NAME, f"{NAME}.descriptor.txt"]


def test_a_replaced_tree_goes_at_a_later_fetch_an_hour_after(cache: Cache, root: Path) -> None:
    old = ensured(cache, filler())
    os.utime(old, (0, 0))  # made long ago; what counts is when it was replaced
    new = ensured(cache, filler({"saved_model.pb": b"another graph"}), refresh=True)
    cache.ensure("https://h/other", "https://h/other", filler())
    assert old.exists()
    os.utime(old, (0, time.time() - REPLACED_TTL_S - 1))
    cache.ensure("https://h/third", "https://h/third", filler())
    assert not old.exists() and ensured(cache) == new
    assert files_in(ensured(cache, filler(), refresh=True)) == MODEL


def test_a_damaged_tree_beside_a_replaced_one_heals_and_spares_it(cache: Cache) -> None:
    old = ensured(cache, filler())
    new = ensured(cache, filler({"saved_model.pb": b"another graph"}), refresh=True)
    (new / "saved_model.pb").unlink()
    healed = ensured(cache, filler({"saved_model.pb": b"another graph"}))
    assert files_in(healed) == {"saved_model.pb": b"another graph"} and files_in(old) == MODEL


@pytest.mark.parametrize("same", [True, False])
def test_a_rename_lost_to_another_process_is_success(cache: Cache, root: Path, same: bool) -> None:
    def fill(into: Path, parts: Path) -> FetchResult:
        put_model(root / NAME, MODEL if same else {"saved_model.pb": b"theirs"})
        return filler()(into, parts)

    tree = ensured(cache, fill)
    assert (tree == root / NAME) is same
    assert files_in(tree) == MODEL and cache.find(KEY)


def test_a_pin_is_compared_with_the_record(cache: Cache) -> None:
    tree = ensured(cache, filler())
    assert ensured(cache, sha256="ab" * 32) == tree
    with pytest.raises(IntegrityError) as caught:
        ensured(cache, sha256="cd" * 32)
    assert "ab" * 32 in str(caught.value) and "cd" * 32 in str(caught.value)


def test_a_tree_without_a_record_cannot_satisfy_a_pin_and_is_fetched_again(cache: Cache, root: Path) -> None:
    put_model(root / NAME, {"saved_model.pb": b"unknown"})
    tree = ensured(cache, filler(), sha256="ab" * 32)
    assert files_in(tree) == MODEL
    assert ensured(cache, sha256="ab" * 32) == tree


def test_a_record_that_names_a_tree_elsewhere_is_not_believed(cache: Cache, root: Path, tmp_path: Path) -> None:
    ensured(cache, filler())
    elsewhere = put_model(tmp_path / "elsewhere")
    text = (root / f"{NAME}.descriptor.txt").read_text()
    (root / f"{NAME}.descriptor.txt").write_text(text.replace(f'"tree": "{NAME}"', f'"tree": "../{elsewhere.name}"'))
    assert ensured(cache) == root / NAME


def test_the_record_is_hubs_lines_and_json(cache: Cache, root: Path) -> None:
    ensured(cache, filler())
    head, _, body = (root / f"{NAME}.descriptor.txt").read_text().partition("\n\n")
    assert head.startswith(f"Module: {KEY}\n") and len(head.splitlines()) == 3
    facts = json.loads(body)
    assert facts["origin"]["sha256"] == "ab" * 32 and {file["path"] for file in facts["files"]} == set(MODEL)


def test_entries_tell_whole_damaged_and_unrecorded_models(cache: Cache, root: Path) -> None:
    ensured(cache, filler())
    cache.ensure("b", "b", filler())
    (root / entry_name_for_key("b") / "saved_model.pb").unlink()
    put_model(root / entry_name_for_key("c"))
    told = {entry.name: (entry.record.files is not None, entry.fault) for entry in cache.entries()}
    assert told == {
        NAME: (True, None),
        entry_name_for_key("b"): (True, "saved_model.pb is missing"),
        entry_name_for_key("c"): (False, None),
    }


def test_what_a_dead_process_left_makes_room_before_the_next_fill(cache: Cache, root: Path) -> None:
    dead = run("from tfimm_resolver.locking.owner import new_token; print(new_token())")
    other = entry_name_for_key("https://h/other")
    alive = f"{other}.{new_token()}.tmp"
    of_an_earlier_container = f"{NAME}.{new_token()}.tmp"  # with the process id that is ours now
    for name in (f"{NAME}.{dead}.tmp", f"{other}.{dead}.tmp", of_an_earlier_container, alive):
        put_model(root / name)
    (root / f"{NAME}.{dead}.txt").write_text("half a record")

    def fill(into: Path, parts: Path) -> FetchResult:
        assert sorted(os.listdir(root)) == sorted([into.name, f"{NAME}.lock", alive])
        return filler()(into, parts)

    ensured(cache, fill)


def test_files_that_go_while_they_are_new_are_missed(cache: Cache, root: Path) -> None:
    def fill(into: Path, parts: Path) -> FetchResult:
        brought = filler()(into, parts)
        (into / "saved_model.pb").unlink()
        return replace(brought, files=tuple(FileEntry(path, len(data), "") for path, data in MODEL.items()))

    with pytest.raises(IntegrityError, match="of 3 files"):
        ensured(cache, fill)
    assert os.listdir(root) == []


def test_an_archive_of_directories_only_is_refused(cache: Cache, root: Path) -> None:
    def fill(into: Path, parts: Path) -> FetchResult:
        (into / "a").mkdir()
        return FetchResult(Origin())

    with pytest.raises(ArchiveError, match="no files"):
        ensured(cache, fill)
    assert os.listdir(root) == []


def test_a_retired_tree_that_cannot_be_removed_fails_no_fetch(
    cache: Cache, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ensured(cache, filler())
    ensured(cache, filler({"saved_model.pb": b"another graph"}), refresh=True)
    os.utime(old, (0, 0))
    rename = os.rename

    def forbidden(source: str, target: str) -> None:
        if str(source) == str(old):
            raise PermissionError(1, "another user's", source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", forbidden)
    cache.ensure("https://h/other", "https://h/other", filler())
    assert old.exists() and cache.find("https://h/other")


def test_a_tree_with_a_dangling_link_can_be_refreshed(cache: Cache, root: Path) -> None:
    (put_model(root / NAME) / "link").symlink_to("nowhere")
    assert files_in(ensured(cache, filler(), refresh=True)) == MODEL


@pytest.mark.timeout(30)
@pytest.mark.parametrize("where", ["record", "tree"])
@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_what_is_no_file_is_not_waited_for_and_is_replaced(
    where: str, put: Callable[[Path], None], cache: Cache, root: Path
) -> None:
    tree = put_model(root / NAME)
    put(root / f"{NAME}.descriptor.txt" if where == "record" else tree / "assets.extra")
    assert files_in(ensured(cache, filler(), refresh=True)) == MODEL
    assert cache.find(KEY) is not None and list(cache.root.hash_faults(cache.find(KEY))) == []


def test_a_removed_model_leaves_nothing(cache: Cache, root: Path) -> None:
    ensured(cache, filler())
    ensured(cache, filler({"saved_model.pb": b"another graph"}), refresh=True)
    cache.remove(NAME)
    assert cache.find(KEY) is None and os.listdir(root) == []


def test_files_and_directories_have_the_mode_that_the_umask_leaves(cache: Cache, tmp_path: Path) -> None:
    tree = ensured(cache, filler())
    (tmp_path / "plain").mkdir()
    assert tree.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tree.parent / f"{NAME}.descriptor.txt").stat().st_mode & 0o044 == 0o044


def test_an_unknown_record_keeps_its_handle() -> None:
    assert Record.parse("", NAME) == Record("", NAME)


def test_a_cache_may_give_names_of_its_own_and_does_all_the_same(root: Path) -> None:
    local = LocalRoot(str(root), trees=re.compile(r"(model-[a-z]+)(\.[0-9a-f]{8})?"))
    cache = Cache(local, lambda key: f"model-{key}")
    first = cache.ensure("one", "a", filler())
    assert (first.tree, cache.path(first)) == ("model-a", f"{root}/model-a") and cache.find("a") == first
    second = cache.ensure("one", "a", filler({"saved_model.pb": b"another"}), refresh=True)
    assert re.fullmatch(r"model-a\.[0-9a-f]{8}", second.tree) and cache.find("a") == second
    assert files_in(cache.path(first)) == MODEL, "who reads the old one is not disturbed"
    os.utime(root / "model-a", (0, 0))
    cache.ensure("two", "b", filler())
    assert not (root / "model-a").exists(), "an hour later it goes"
    put_model(root / "resnet18")
    assert [entry.name for entry in cache.entries()] == ["model-a", "model-b"]
    cache.remove("model-a")
    assert sorted(os.listdir(root)) == ["model-b", "model-b.descriptor.txt", "resnet18"]


def test_a_strangers_directory_called_parts_is_left_alone(cache: Cache, root: Path) -> None:
    for folder in (root / "engine.parts", root / f"{entry_name_for_key('b')}.parts"):
        put_model(folder)
        for path in (folder, *folder.rglob("*")):
            os.utime(path, (0, 0))
    cache.ensure("a", "a", filler())
    assert (root / "engine.parts/saved_model.pb").exists() and not (root / f"{entry_name_for_key('b')}.parts").exists()
