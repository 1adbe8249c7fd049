"""Counts of hits, misses and bytes for each root: approximate, and never written by a hit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tests.fakes.use_locks import give_up_all
from tfimm_resolver import resolve
from tfimm_resolver.cache import counters
from tfimm_resolver.cache.counters import Counters, read_counters
from tfimm_resolver.maintenance import pruning

HITS = """
    import sys, tfimm_resolver
    for _ in range(int(sys.argv[2])):
        tfimm_resolver.resolve(sys.argv[1])
"""


@pytest.fixture
def root(cache_dir: Path) -> str:
    counters._take_counts()  # those of earlier tests
    counters._misses_due_s = 0.0
    return str(cache_dir)


def list_state(tmp_path: Path) -> dict[str, float]:
    """Return every file of the counts with its time."""
    return {str(path): path.stat().st_mtime_ns for path in (tmp_path / "home/.local").rglob("*") if path.is_file()}


def test_hits_misses_and_bytes_are_counted(origin: Origin, root: str, tmp_path: Path) -> None:
    assert read_counters(root) == Counters()
    data = tar_gz()
    path = resolve(origin.put("/m.tar.gz", data))
    assert read_counters(root) == Counters(0, 1, len(data))
    before = list_state(tmp_path)
    for _ in range(50):
        resolve(f"{origin.url}/m.tar.gz")
    assert list_state(tmp_path) == before, "a hit writes nothing"
    counters.flush()
    resolve(origin.put("/n.tar.gz", data))
    counters.flush()
    assert read_counters(root) == Counters(50, 2, 2 * len(data))
    give_up_all()
    for other in (*map(str, Path(path).rglob("*")), path):
        os.utime(other, (1, 1))
    freed_bytes = pruning.prune(max_size="1B").freed_bytes
    counters.flush()
    assert freed_bytes and read_counters(root) == Counters(50, 2, 2 * len(data), freed_bytes)


def test_a_process_writes_its_hits_when_it_ends(origin: Origin, root: str) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    resolve(handle)
    run(HITS, handle, "100")
    assert read_counters(root).hits == 100


def test_of_processes_with_one_hit_few_write(origin: Origin, root: str, tmp_path: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    resolve(handle)
    code = """
        import random, sys
        import tfimm_resolver
        random.randrange = lambda count: int(sys.argv[2])
        tfimm_resolver.resolve(sys.argv[1])
    """
    before = list_state(tmp_path)
    run(code, handle, "1")
    assert list_state(tmp_path) == before and read_counters(root).hits == 0
    run(code, handle, "0")
    assert read_counters(root).hits == 16


def test_roots_are_counted_apart_and_a_forked_child_counts_its_own(origin: Origin, root: str, tmp_path: Path) -> None:
    code = """
        import os, sys, tfimm_resolver
        for _ in range(21):
            tfimm_resolver.resolve(sys.argv[1])
        if os.fork() == 0:
            for _ in range(30):
                tfimm_resolver.resolve(sys.argv[1])
            sys.exit()
        os.wait()
    """
    run(code, origin.put("/m.tar.gz", tar_gz()))
    assert read_counters(root).hits == 50 and read_counters(str(tmp_path / "other")) == Counters()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"hits": "many", "misses": -1}', "x" * 20_000])
def test_a_damaged_file_counts_for_nothing_and_is_replaced(text: str, origin: Origin, root: str, tmp_path: Path) -> None:
    data = tar_gz()
    resolve(origin.put("/m.tar.gz", data))
    (path,) = list_state(tmp_path)
    Path(path).write_text(text)
    assert read_counters(root) == Counters()
    resolve(origin.put("/n.tar.gz", data))
    counters.flush()
    assert read_counters(root) == Counters(0, 1, len(data))


def test_a_home_that_cannot_be_written_is_not_an_error(
    origin: Origin, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    resolve(origin.put("/m.tar.gz", tar_gz()))
    assert read_counters(root) == Counters()


def test_a_process_that_fetches_many_models_writes_once_in_a_second_and_at_its_end(origin: Origin, root: str) -> None:
    data = tar_gz()
    code = """
        import os, sys, time, tfimm_resolver
        from tfimm_resolver.cache import counters
        counters._MISS_INTERVAL_S = 1000.0
        for number in range(3):
            tfimm_resolver.resolve(f"{sys.argv[1]}/{number}.tar.gz")
        print(counters.read_counters(os.environ["TFHUB_CACHE_DIR"]).misses)
    """
    for number in range(3):
        origin.put(f"/{number}.tar.gz", data)
    assert run(code, origin.url).split() == ["1"]
    assert read_counters(root) == Counters(0, 3, 3 * len(data))
