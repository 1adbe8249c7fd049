"""What a local root removes, and what it never removes: a model that a process uses."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in
from tests.fakes.named_models import put_model
from tests.fakes.processes import run, start
from tfimm_resolver.cache.cache import Cache, Entry
from tfimm_resolver.cache.local_cleanup import PARTIAL_TTL_S, REPLACED_TTL_S, Cleaner
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.record import ENTRY_DIR_PATTERN
from tfimm_resolver.errors import CacheError
from tfimm_resolver.locking import use_lock
from tfimm_resolver.manifest import FetchResult, Origin

KEY, OTHER_MODEL = "https://h.example/m.tar.gz", {**MODEL, "saved_model.pb": b"another"}
HOLD = """
    import sys
    from tfimm_resolver.locking import use_lock
    assert use_lock.hold(sys.argv[1], 60)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(LocalRoot(str(tmp_path / "root")))


def fetch(cache: Cache, files: dict[str, bytes] = MODEL, *, refresh: bool = False) -> str:
    """Fetch a model into the cache and return its path."""

    def fill(into: Path, _: Path) -> FetchResult:
        put_model(into, files)
        return FetchResult(Origin())

    return cache.path(cache.ensure(KEY, KEY, fill, refresh=refresh))


@contextmanager
def used_by_another(tree: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that uses a directory until the block ends."""
    with start(HOLD, tree, stdin=subprocess.PIPE) as process:  # type: ignore[arg-type]
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def list_entries(cache: Cache) -> list[Entry]:
    return list(cache.entries())


def make_old(path: str, age_s: float) -> None:
    before_s = time.time() - age_s
    for other in (path, *map(str, Path(path).rglob("*"))):
        os.utime(other, (before_s, before_s))


def test_a_model_in_use_is_not_removed(cache: Cache) -> None:
    path = fetch(cache)
    name = os.path.basename(path)
    with used_by_another(path) as process:
        with pytest.raises(CacheError, match=f"is in use by process {process.pid}: nothing was removed"):
            cache.remove(name)
        assert files_in(path) == MODEL and [entry.defect for entry in list_entries(cache)] == [None]
    cache.remove(name)
    assert os.listdir(os.path.dirname(path)) == []


def test_an_entry_stays_as_it_is_if_only_its_older_copy_is_in_use(cache: Cache) -> None:
    old = fetch(cache)
    new = fetch(cache, OTHER_MODEL, refresh=True)
    with used_by_another(old), pytest.raises(CacheError, match="is in use"):
        cache.remove(os.path.basename(old))
    assert files_in(old) == MODEL and files_in(new) == OTHER_MODEL


def test_a_replaced_model_stays_as_long_as_it_is_in_use(cache: Cache) -> None:
    old = fetch(cache)
    new = fetch(cache, OTHER_MODEL, refresh=True)
    with used_by_another(old):
        make_old(old, REPLACED_TTL_S + 60)
        cache.root.collect_garbage(lambda name: os.path.basename(new))
        assert files_in(old) == MODEL
    cache.root.collect_garbage(lambda name: os.path.basename(new))
    assert not os.path.exists(old) and files_in(new) == OTHER_MODEL


def test_a_damaged_model_in_use_is_repaired_beside_it(cache: Cache) -> None:
    damaged = fetch(cache)
    os.unlink(f"{damaged}/saved_model.pb")
    left = files_in(damaged)
    with used_by_another(damaged):
        repaired = fetch(cache)
        assert repaired != damaged and files_in(repaired) == MODEL and files_in(damaged) == left
        assert [(entry.path, entry.defect) for entry in list_entries(cache)] == [(repaired, None)]
    make_old(damaged, REPLACED_TTL_S + 60)
    cache.root.collect_garbage(lambda name: os.path.basename(repaired))
    assert not os.path.exists(damaged)


def test_a_damaged_model_that_no_process_uses_is_repaired_in_its_place(cache: Cache) -> None:
    path = fetch(cache)
    os.unlink(f"{path}/saved_model.pb")
    assert fetch(cache) == path and files_in(path) == MODEL


def test_a_copy_whose_record_cannot_be_written_is_taken_back(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    path, root = fetch(cache), cache.root.path_of("")

    def fail(name: str, text: str) -> None:
        raise CacheError("no space for the record")

    monkeypatch.setattr(LocalRoot, "write", staticmethod(fail))
    before = sorted(os.listdir(root))
    with pytest.raises(CacheError, match="no space for the record"):
        fetch(cache, OTHER_MODEL, refresh=True)
    assert sorted(os.listdir(root)) == before and files_in(path) == MODEL


@pytest.mark.parametrize("ahead_s", [86400, -86400])
def test_the_clock_of_the_disk_counts_not_that_of_the_machine(cache: Cache, ahead_s: int) -> None:
    old = fetch(cache)
    new = fetch(cache, OTHER_MODEL, refresh=True)
    root = os.path.dirname(new)
    parts = Path(root, f"{'1' * 40}.parts")
    put_model(parts)
    code = """
        import sys, time
        real = time.clock_gettime_ns
        time.clock_gettime_ns = lambda clock: real(clock) + int(sys.argv[1]) * 10**9
        from tfimm_resolver._util import clock
        assert abs(clock.get_time_s() - time.time()) > 80_000
        from tfimm_resolver.cache.local_root import LocalRoot
        root = LocalRoot(sys.argv[2])
        root.collect_garbage(lambda name: sys.argv[3])
        with root.lock("2" * 40):
            pass
    """
    run(code, str(ahead_s), root, os.path.basename(new))
    assert files_in(old) == MODEL and files_in(parts) == MODEL
    make_old(old, REPLACED_TTL_S + 60)
    make_old(str(parts), PARTIAL_TTL_S + 60)
    run(code, str(ahead_s), root, os.path.basename(new))
    assert not os.path.exists(old) and not parts.exists()


def test_the_time_of_the_disk_is_that_of_a_new_file(tmp_path: Path) -> None:
    cleaner = Cleaner(str(tmp_path), ENTRY_DIR_PATTERN)
    assert abs(cleaner.get_time_s() - time.time()) < 10 and os.listdir(tmp_path) == ["home"]


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without flock."""

    def fail(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)


def test_without_locks_a_model_used_lately_is_removed_only_by_force(cache: Cache, no_flock: None) -> None:
    path = fetch(cache)
    name = os.path.basename(path)
    make_old(path, 3 * 3600)
    with pytest.raises(CacheError, match=r"was used 3 h ago, and its disk has no locks .*: nothing was removed\n.*force=True"):
        cache.remove(name)
    assert files_in(path) == MODEL and [entry.defect for entry in list_entries(cache)] == [None]
    cache.remove(name, force=True)
    assert os.listdir(os.path.dirname(path)) == []


def test_without_locks_a_model_not_used_for_a_day_is_removed(
    cache: Cache, no_flock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch(cache)
    make_old(path, 25 * 3600)
    cache.remove(os.path.basename(path))
    assert os.listdir(os.path.dirname(path)) == []
    make_old(fetch(cache), 3 * 3600)
    monkeypatch.setenv("TFIMM_RESOLVER_GRACE_WITHOUT_LOCKS", "2h")
    cache.remove(os.path.basename(path))
    assert os.listdir(os.path.dirname(path)) == []


def test_force_does_not_remove_what_is_known_to_be_in_use(cache: Cache) -> None:
    path = fetch(cache)
    with used_by_another(path), pytest.raises(CacheError, match="is in use by process"):
        cache.remove(os.path.basename(path), force=True)
    assert files_in(path) == MODEL


def test_without_locks_a_damaged_model_is_repaired_beside_it_and_a_replaced_one_stays_for_a_day(
    cache: Cache, no_flock: None
) -> None:
    damaged = fetch(cache)
    os.unlink(f"{damaged}/saved_model.pb")
    repaired = fetch(cache)
    assert repaired != damaged and files_in(repaired) == MODEL and os.path.exists(damaged)
    for hours, is_there in ((23, True), (25, False)):
        make_old(damaged, hours * 3600)
        cache.root.collect_garbage(lambda name: os.path.basename(repaired))
        assert os.path.exists(damaged) == is_there


def test_without_locks_a_copy_that_no_record_names_is_taken_back(
    cache: Cache, no_flock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cache.root.path_of("")
    fetch(cache)
    monkeypatch.setattr(LocalRoot, "write", staticmethod(lambda name, text: (_ for _ in ()).throw(CacheError("no space"))))
    before = sorted(os.listdir(root))
    with pytest.raises(CacheError, match="no space"):
        fetch(cache, OTHER_MODEL, refresh=True)
    assert sorted(os.listdir(root)) == before


def test_the_time_of_a_disk_without_room_for_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.utime(tmp_path, (1, 1))
    monkeypatch.setattr("tfimm_resolver._util.fs.open_regular", fail)
    assert abs(Cleaner(str(tmp_path), ENTRY_DIR_PATTERN).get_time_s() - time.time()) < 60


def can_be_removed(path: str) -> bool:
    """Whether another process could take the right to remove a directory."""
    return (
        run("import sys\nfrom tfimm_resolver.locking import use_lock\nprint(use_lock.try_exclude(sys.argv[1]))", path)
        != "None"
    )


def test_a_removal_that_is_refused_leaves_this_process_its_own_use(cache: Cache) -> None:
    old = fetch(cache)
    new = fetch(cache, OTHER_MODEL, refresh=True)
    for path in (old, new):
        assert use_lock.hold(path, 60)
    for other in (old, new):
        with used_by_another(other), pytest.raises(CacheError, match="is in use"):
            cache.remove(os.path.basename(old))
        assert [use_lock.is_held(path) for path in (old, new)] == [True, True]
        assert [can_be_removed(path) for path in (old, new)] == [False, False]
    cache.remove(os.path.basename(old))
    assert [use_lock.is_held(path) for path in (old, new)] == [False, False]


def test_a_repair_beside_a_model_in_use_leaves_this_process_its_own_use(cache: Cache) -> None:
    damaged = fetch(cache)
    assert use_lock.hold(damaged, 60)
    os.unlink(f"{damaged}/saved_model.pb")
    with used_by_another(damaged):
        assert fetch(cache) != damaged
    assert use_lock.is_held(damaged) and not can_be_removed(damaged)
