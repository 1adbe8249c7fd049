"""A cache root in a local directory."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import cast

import pytest

from tests.fakes.archives import MODEL, files_in
from tests.fakes.lock_processes import make_dead_pid
from tests.fakes.named_models import put_model
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.local_cleanup import PARTIAL_TTL_S, REPLACED_TTL_S
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.record import Record, hash_tree
from tfimm_resolver.errors import CacheError
from tfimm_resolver.locking.owner import get_host_hash
from tfimm_resolver.manifest import FetchResult, Origin

NAME, OTHER = "0" * 40, "1" * 40


@pytest.fixture
def root(tmp_path: Path) -> LocalRoot:
    """A root that does not exist yet."""
    return LocalRoot(str(tmp_path / "root"))


def publish(root: LocalRoot, files: dict[str, bytes] = MODEL, known: Record | None = None) -> Record:
    """Publish a model."""
    with root.lock(NAME) as staging:
        assert staging is not None
        put_model(staging, files)
        return root.publish(staging, Record("h", NAME, files=hash_tree(str(staging))), known or Record("h", NAME))


def test_a_new_version_leaves_the_one_that_may_still_be_read(root: LocalRoot) -> None:
    first = publish(root)
    second = publish(root, {**MODEL, "saved_model.pb": b"another"}, first)
    assert first.tree != second.tree and files_in(root.path_of(first.tree)) == MODEL
    assert publish(root, MODEL, first).tree == first.tree


def test_a_replaced_version_is_removed_once_it_is_old(root: LocalRoot) -> None:
    first = publish(root)
    second = publish(root, {**MODEL, "saved_model.pb": b"another"}, first)
    root.collect_garbage(lambda name: second.tree)
    assert os.path.exists(root.path_of(first.tree))
    old_s = time.time() - REPLACED_TTL_S - 10
    for tree in (first.tree, second.tree):
        os.utime(root.path_of(tree), (old_s, old_s))
    root.collect_garbage(lambda name: second.tree)
    assert root.list_names() == [second.tree]


def test_removing_a_model_leaves_the_others(root: LocalRoot) -> None:
    publish(root)
    root.write(f"{NAME}.descriptor.txt", "a record")
    root.write(f"{OTHER}.descriptor.txt", "another")
    root.remove(NAME)
    assert root.list_names() == [f"{OTHER}.descriptor.txt"]


def test_the_next_lock_removes_what_dead_processes_left(root: LocalRoot) -> None:
    folder = Path(root.path)
    dead = f"flock-{make_dead_pid()}-{get_host_hash()}-0123456789abcdef"
    alive = f"flock-{os.getppid()}-{get_host_hash()}-0123456789abcdef"
    for name in (f"{OTHER}.{dead}.tmp", f"{OTHER}.{alive}.tmp", f"{OTHER}.parts"):
        put_model(folder / name)
    old_s = time.time() - PARTIAL_TTL_S - 10
    for path in ((folder / f"{OTHER}.parts"), *(folder / f"{OTHER}.parts").rglob("*")):
        os.utime(path, (old_s, old_s))
    with root.lock(NAME):
        pass
    assert root.list_names() == [f"{OTHER}.{alive}.tmp"]


def test_a_root_of_one_user_is_written_for_that_user_only(tmp_path: Path) -> None:
    root = LocalRoot(str(tmp_path / "root"), mode=0o700)
    record = publish(root)
    modes = [path.stat().st_mode & 0o077 for path in (Path(root.path), Path(root.path_of(record.tree)))]
    assert modes == [0, 0]


def test_a_file_in_place_of_the_root_is_an_error_that_names_it_and_a_way_out(root: LocalRoot) -> None:
    Path(root.path).write_text("")
    with pytest.raises(CacheError, match="cannot write the cache at") as caught, root.lock(NAME):
        pass
    assert root.path in caught.value.text and "TFHUB_CACHE_DIR" in caught.value.fix


def list_trees(root: LocalRoot) -> list[str]:
    return [name for name in root.list_names() if root.entry_pattern.fullmatch(name)]


def test_a_model_that_changes_back_and_forth_has_one_copy_of_each_version(tmp_path: Path) -> None:
    cache = Cache(LocalRoot(str(tmp_path / "root")))
    versions = [MODEL, {**MODEL, "saved_model.pb": b"other 1"}, {**MODEL, "saved_model.pb": b"other 2"}]

    def refresh(files: dict[str, bytes]) -> Path:
        def fill(into: Path, _: Path) -> FetchResult:
            put_model(into, files)
            return FetchResult(Origin())

        return Path(cache.path(cache.ensure("https://h/m", "https://h/m", fill, refresh=True)))

    paths = [refresh(files) for files in versions]
    for _ in range(3):
        for files, path in zip(versions, paths, strict=True):
            os.utime(path, (1, 1))
            assert refresh(files) == path and files_in(path) == files
            assert path.stat().st_mtime > 1, "its age counts from now on, for later refreshes"
    (paths[0] / "saved_model.pb").write_bytes(b"damaged")
    again = refresh(versions[0])
    assert again not in paths and files_in(again) == versions[0]
    assert len(cast(LocalRoot, cache.root).list_names()) == len(paths) + 2


def overwrite(path: Path, text: str) -> None:
    """Change a file in place, so that it keeps its size and its modification time; its change time is another one."""
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.write_text(text)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("mode", [0o777, 0o700])
def test_a_text_is_read_again_once_it_has_changed(mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = LocalRoot(str(tmp_path), mode)
    tmp_path.chmod(0o700)
    path = tmp_path / "a.txt"
    path.write_text("first")
    for text in ("one", "two", "six"):  # within the granularity of time stamps
        path.write_text(text)
        os.utime(path, ns=(1, 1))
        assert root.read("a.txt") == text
        assert root.read("a.txt") is not root.read("a.txt"), "it could change once more, unnoticed"
    monkeypatch.setattr("tfimm_resolver._util.clock._read_ns", lambda: time.time_ns() + 10**10)
    assert root.read("a.txt") is root.read("a.txt"), "it is not decoded, nor parsed, twice"
    overwrite(path, "ten")
    assert root.read("a.txt") == "ten"
    path.unlink()
    assert root.read("a.txt") is None
    os.mkfifo(path)
    assert root.read("a.txt") is None
