"""Models are evicted when a limit is set: the least recently used first, never one that is in use, kept or used lately."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.buckets import ROOT, fill_s3
from tests.fakes.hugging_face import HuggingFace
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tests.fakes.processes import run, start
from tests.fakes.stores.gcs import Gcs
from tests.fakes.use_locks import give_up_all
from tfimm_resolver import bundles, resolve, settings
from tfimm_resolver.cache import eviction
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.contents import PARTIAL, REPLACED, open_stores
from tfimm_resolver.cache.eviction import IN_USE, PROTECTED, UNRECORDED, USED_LATELY, Evictor
from tfimm_resolver.cache.record import KEEP_SUFFIX
from tfimm_resolver.errors import HandleError
from tfimm_resolver.locking.lock import acquire
from tfimm_resolver.maintenance import verification
from tfimm_resolver.settings.limits import CacheLimits, Size

COUNT, SIZE_BYTES, HOUR_S, DAY_S = 5, 100_000, 3600, 86400
FILES = {**MODEL, "assets/large": os.urandom(SIZE_BYTES)}
USE = """
    import sys, tfimm_resolver
    print(tfimm_resolver.resolve(sys.argv[1]), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def models(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of cached models that no process uses, the least recently used first: 10 h ago, 9 h ago and so on."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    paths = [resolve(origin.put(f"/m{number}.tar.gz", tar_gz(FILES))) for number in range(COUNT)]
    give_up_all()
    for hours, path in zip(range(10, 0, -1), paths, strict=False):
        make_old(path, hours * HOUR_S)
    return paths


def make_old(path: str, age_s: float) -> None:
    """Set the last use of a model."""
    used_s = time.time() - age_s
    for other in (*map(str, Path(path).rglob("*")), path):
        os.utime(other, (used_s, used_s))


def make_evictor(*, max_size: int | None = None, **limits: float) -> Evictor:
    size = None if max_size is None else Size(max_size)
    return Evictor(open_stores(), CacheLimits(size, None, limits.get("max_age_s")))


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def list_missing(paths: list[str]) -> list[int]:
    return [number for number, path in enumerate(paths) if not os.path.exists(path)]


@contextmanager
def used_by_another(handle: str) -> Iterator[None]:
    with start(USE, handle, stdin=subprocess.PIPE) as process:  # type: ignore[arg-type]
        try:
            assert process.stdout is not None and process.stdout.readline().startswith("/")
            yield
        finally:
            process.kill()


def test_the_least_recently_used_are_evicted_down_to_nine_tenths(models: list[str], cache_dir: Path) -> None:
    make_old(models[0], 2 * HOUR_S)  # used again
    evictor = make_evictor(max_size=4 * SIZE_BYTES)
    planned = evictor.plan()
    assert list_missing(models) == []
    done = evictor.evict(planned)
    assert done.removed == planned.removed and done.missing_bytes == planned.missing_bytes == 0
    assert list_missing(models) == [1, 2]
    assert done.freed_bytes == sum(item.size_bytes for item in done.removed) > 2 * SIZE_BYTES
    assert len(os.listdir(cache_dir)) == 2 * 3, "records went with their models"
    assert make_evictor(max_size=4 * SIZE_BYTES).plan().removed == ()


def test_a_link_frees_nothing_and_leaves_nothing(models: list[str], cache_dir: Path, tmp_path: Path) -> None:
    shutil.move(models[0], tmp_path / "elsewhere")
    link = Path(models[0])
    link.symlink_to(tmp_path / "elsewhere")
    before = read_files(tmp_path / "elsewhere")
    make_old(models[0], 10 * HOUR_S)
    evictor = make_evictor(max_age_s=9.5 * HOUR_S)
    (found,) = [item for item in evictor.plan().items if item.name == link.name]
    assert found.size_bytes == 0
    done = evictor.evict(evictor.plan())
    assert [item.name for item in done.removed] == [link.name] and done.freed_bytes == 0
    assert read_files(tmp_path / "elsewhere") == before
    assert not [name for name in os.listdir(cache_dir) if name.startswith(link.name.partition(".")[0])]


def test_the_limit_and_not_the_goal_below_it_is_what_is_missing(models: list[str]) -> None:
    for path in models:
        Path(path + KEEP_SUFFIX).touch()
    evictor = make_evictor(max_size=4 * SIZE_BYTES)
    planned = evictor.plan()
    assert planned.missing_bytes == planned.before_bytes - 4 * SIZE_BYTES
    assert evictor.evict(planned).missing_bytes == planned.missing_bytes


def test_what_is_about_to_be_added_counts(models: list[str]) -> None:
    assert make_evictor(max_size=6 * SIZE_BYTES).plan().removed == ()
    assert len(make_evictor(max_size=6 * SIZE_BYTES).plan(2 * SIZE_BYTES).removed) == 2


def test_what_was_not_used_for_long_is_evicted(models: list[str]) -> None:
    evictor = make_evictor(max_age_s=8.5 * HOUR_S)
    evictor.evict(evictor.plan())
    assert list_missing(models) == [0, 1]


def test_free_space_is_kept(models: list[str]) -> None:
    evictor = Evictor(open_stores(), CacheLimits(min_free=Size(fraction=1.0)))
    planned = evictor.plan()
    assert len(planned.removed) == COUNT and planned.missing_bytes >= 0


def test_models_in_use_kept_or_used_lately_are_spared(models: list[str], origin: Origin, cache_dir: Path) -> None:
    with used_by_another(f"{origin.url}/m0.tar.gz"):
        make_old(models[0], 10 * HOUR_S)
        Path(models[1] + KEEP_SUFFIX).touch()
        make_old(models[2], HOUR_S / 2)
        Path(f"{models[3]}.descriptor.txt").unlink()
        evictor = make_evictor(max_size=1)
        done = evictor.evict(evictor.plan())
        assert done.spared == {IN_USE: 1, PROTECTED: 1, USED_LATELY: 1, UNRECORDED: 1} and done.missing_bytes > 0
        assert list_missing(models) == [4] and files_in(models[0]) == FILES
    make_old(models[0], 10 * HOUR_S)
    evictor = make_evictor(max_size=1)
    assert [item.name for item in evictor.plan().removed] == [os.path.basename(models[0])]


def test_a_model_of_this_process_is_in_use(models: list[str], origin: Origin) -> None:
    resolve(f"{origin.url}/m0.tar.gz")
    make_old(models[0], 10 * HOUR_S)
    assert make_evictor(max_size=1).plan().spared == {IN_USE: 1}


def test_what_is_used_after_the_decision_stays(models: list[str], origin: Origin) -> None:
    evictor = make_evictor(max_size=1)
    planned = evictor.plan()
    lock = acquire(f"{models[1]}.lock")
    assert lock is not None
    with used_by_another(f"{origin.url}/m0.tar.gz"):
        make_old(models[0], 11 * HOUR_S)  # only its lock protects it
        make_old(models[2], 0)  # by a program that takes no locks
        done = evictor.evict(planned)
    lock.release()
    assert list_missing(models) == [3, 4] and done.spared[IN_USE] == 3
    assert done.missing_bytes == sum(item.size_bytes for item in planned.removed[:3]) - 1, "the limit is 1 byte"


def test_partial_downloads_and_replaced_copies_go_first(models: list[str], origin: Origin, cache_dir: Path) -> None:
    origin.put("/m0.tar.gz", tar_gz({**FILES, "assets/more": b"more"}))
    new = resolve(f"{origin.url}/m0.tar.gz", refresh=True)
    give_up_all()
    parts = cache_dir / f"{'1' * 40}.parts"
    put_model(parts, {"part": bytes(1000)})
    for path in (models[0], new, str(parts)):
        make_old(path, 5 * HOUR_S)
    evictor = make_evictor(max_size=5 * SIZE_BYTES + 50_000)
    planned = evictor.plan()
    assert {item.kind for item in planned.removed[:2]} == {PARTIAL, REPLACED}
    evictor.evict(planned)
    assert not parts.exists() and not os.path.exists(models[0]) and os.path.exists(new)


def test_a_partial_download_that_may_be_resumed_stays(models: list[str], cache_dir: Path) -> None:
    recent, locked = cache_dir / f"{'1' * 40}.parts", cache_dir / f"{'2' * 40}.parts"
    for parts in (recent, locked):
        put_model(parts)
    make_old(str(locked), DAY_S)
    lock = acquire(str(locked).replace(".parts", ".lock"))
    evictor = make_evictor()
    assert evictor.plan(all_unfinished=True).removed == ()
    assert lock is not None
    lock.release()
    assert [item.name for item in evictor.plan(all_unfinished=True).removed] == [locked.name]


def test_without_flock_only_the_last_use_counts_for_a_day(models: list[str], no_flock: None) -> None:
    make_old(models[0], 30 * HOUR_S)
    evictor = make_evictor(max_size=1)
    done = evictor.evict(evictor.plan())
    assert list_missing(models) == [0] and done.spared[USED_LATELY] == COUNT - 1


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without flock."""
    import errno
    import fcntl

    def fail(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)


def test_a_fetch_evicts_before_and_after(models: list[str], origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = origin.put("/new.tar.gz", tar_gz(FILES))
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", f"{4 * SIZE_BYTES}B")
    new = resolve(handle)
    assert list_missing(models) == [0, 1, 2] and files_in(new) == FILES


@pytest.fixture
def reserved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For how many bytes room was made before they were fetched."""
    sizes: list[int] = []
    enforce = eviction.enforce_limits

    def note(cache: Cache, *, needed_bytes: int = 0, freed_bytes_min: int = 0) -> int:
        sizes.extend([needed_bytes] if needed_bytes else [])
        return enforce(cache, needed_bytes=needed_bytes, freed_bytes_min=freed_bytes_min)

    monkeypatch.setattr(eviction, "enforce_limits", note)
    return sizes


def make_http(request: pytest.FixtureRequest) -> tuple[str, int]:
    data = tar_gz(FILES)
    return request.getfixturevalue("origin").put("/new.tar.gz", data), len(data)


def make_local(request: pytest.FixtureRequest) -> tuple[str, int]:
    path = request.getfixturevalue("tmp_path") / "new.tar.gz"
    path.write_bytes(tar_gz(FILES))
    return str(path), path.stat().st_size


def make_objects(request: pytest.FixtureRequest) -> tuple[str, int]:
    request.getfixturevalue("s3")
    fill_s3({f"m/{name}": data for name, data in FILES.items()})
    return "s3://bucket/m", sum(map(len, FILES.values()))


def make_object(request: pytest.FixtureRequest) -> tuple[str, int]:
    request.getfixturevalue("s3")
    fill_s3({"m.tar.gz": (data := tar_gz(FILES))})
    return "s3://bucket/m.tar.gz", len(data)


def make_hugging_face(request: pytest.FixtureRequest) -> tuple[str, int]:
    server = HuggingFace()
    request.addfinalizer(lambda: server.__exit__(None, None, None))
    request.getfixturevalue("monkeypatch").setenv("HF_ENDPOINT", server.__enter__().url)
    server.push("ada/new", FILES)
    return "hf://ada/new", sum(map(len, FILES.values()))


SOURCES = [make_http, make_local, make_objects, make_object, make_hugging_face]


@pytest.mark.parametrize("make", SOURCES, ids=[make.__name__.removeprefix("make_") for make in SOURCES])
def test_room_is_made_before_a_model_of_any_source_is_fetched(
    make: Callable[[pytest.FixtureRequest], tuple[str, int]],
    models: list[str],
    reserved: list[int],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handle, size_bytes = make(request)
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", f"{4 * SIZE_BYTES}B")
    assert files_in(resolve(handle)) == FILES
    assert reserved == [size_bytes] and list_missing(models) == [0, 1, 2]


def test_room_is_made_for_a_copy_of_a_model_in_a_bucket(
    gcs: Gcs, origin: Origin, tmp_path: Path, reserved: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", ROOT)
    monkeypatch.setenv("TFIMM_RESOLVER_LOCAL_COPY", "1")
    for machine in ("one", "two"):
        monkeypatch.setenv("TFIMM_HOME", str(tmp_path / machine))
        monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", f"{4 * SIZE_BYTES}B")
        assert files_in(resolve(origin.put("/m.tar.gz", data := tar_gz(FILES)))) == FILES
    assert reserved == [len(data), sum(map(len, FILES.values()))]


def test_room_is_made_for_the_models_of_a_bundle(
    models: list[str], origin: Origin, tmp_path: Path, reserved: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tfimm_resolver.using(dir=tmp_path / "other"):
        bundles.export([origin.put(f"/new{number}.tar.gz", tar_gz(FILES)) for number in range(2)], tmp_path / "models.tar")
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", f"{4 * SIZE_BYTES}B")
    imported = bundles.import_(tmp_path / "models.tar")
    assert reserved == [sum(map(len, FILES.values()))] * 2
    assert [files_in(model.path) for model in imported] == [FILES] * 2 and list_missing(models) == [0, 1, 2, 3]


def test_a_use_counts_although_the_disk_notes_a_read_only_once_a_day(models: list[str], origin: Origin) -> None:
    now_s = time.time()
    for path in models:
        os.utime(f"{path}/saved_model.pb", (now_s - 20 * HOUR_S, now_s - 20 * HOUR_S))
        os.utime(path, (now_s - 20 * HOUR_S, now_s - 20 * HOUR_S))
    for number in (0, 1):
        run("import sys, tfimm_resolver\ntfimm_resolver.resolve(sys.argv[1])", f"{origin.url}/m{number}.tar.gz")
        os.utime(f"{models[number]}/saved_model.pb", (now_s - 20 * HOUR_S, now_s - 20 * HOUR_S))
    evictor = make_evictor(max_size=3 * SIZE_BYTES)
    evictor.evict(evictor.plan())
    assert list_missing(models) == [2, 3, 4]


def test_verifying_the_cache_does_not_change_the_order(models: list[str]) -> None:
    before = [item.name for item in make_evictor(max_size=1).plan().removed]
    for result in verification.verify():
        assert not result.faults
    assert [item.name for item in make_evictor(max_size=1).plan().removed] == before


def test_without_a_limit_nothing_is_evicted(models: list[str], origin: Origin) -> None:
    assert not settings.cache_limits().is_limited
    resolve(origin.put("/new.tar.gz", tar_gz(FILES)))
    assert list_missing(models) == []


def test_a_wrong_limit_is_an_error_before_the_download(
    origin: Origin, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", "50 apples")
    with pytest.raises(HandleError, match="TFIMM_RESOLVER_MAX_SIZE is '50 apples'"):
        resolve(origin.put("/m.tar.gz", tar_gz()))
    assert origin.requests == []


def test_the_decision_over_ten_thousand_models_takes_a_second(cache_dir: Path) -> None:
    record = run("""
        from tfimm_resolver.cache.record import Record
        from tfimm_resolver.manifest import FileEntry
        files = tuple(FileEntry(f"variables/file{n}", 1000, "0" * 64) for n in range(4))
        print(Record("https://h.example/NAME", "NAME", "2026-01-01T00:00:00Z", files=files).to_text("host"))
    """)
    cache_dir.mkdir()
    for number in range(10_000):
        name = f"{number:040x}"
        (cache_dir / name).mkdir()
        os.utime(cache_dir / name, (number, number))
        (cache_dir / f"{name}.descriptor.txt").write_text(record.replace("NAME", name))
    evictor, started_s = make_evictor(max_size=36_000_000), time.process_time()
    planned = evictor.plan()
    needed_s, started_s = time.process_time() - started_s, time.process_time()
    for path in cache_dir.glob("*.txt"):  # how fast this machine is: it takes a third of a second on one that is quiet
        json.loads(path.read_text().partition("\n\n")[2])
    read_s = time.process_time() - started_s
    assert len(planned.removed) == 1900 and needed_s < max(3, 9 * read_s), needed_s  # a quiet machine takes less than one
