"""Extra roots: read-only, and searched before the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.light_start import HEAVY
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tests.fakes.use_locks import give_up_all
from tfimm_resolver import resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import OfflineError

VARIABLE = "TFIMM_RESOLVER_EXTRA_ROOTS"
NEWER = {"saved_model.pb": b"a newer graph"}


@pytest.fixture
def handle(origin: Origin) -> str:
    """A model that can be fetched."""
    return origin.put_model("/google/model/1", tar_gz())


def read_mtimes(path: Path) -> dict[Path, int]:
    """Return when each file and directory was last changed."""
    return {path: path.stat().st_mtime_ns for path in (path, *path.rglob("*"))}


@pytest.fixture
def writable_extra(handle: str, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: Origin) -> Path:
    """An extra root that holds the model; the cache is empty, and the server's log of requests is cleared."""
    resolve(handle)
    path = tmp_path / "extra"
    cache_dir.rename(path)
    origin.requests.clear()
    monkeypatch.setenv(VARIABLE, f"{tmp_path}/missing{os.pathsep}{os.pathsep}{path}")
    return path


@pytest.fixture
def extra(writable_extra: Path) -> Iterator[Path]:
    """``writable_extra``, with a check that it was not written to."""
    before = read_mtimes(writable_extra)
    yield writable_extra
    assert read_mtimes(writable_extra) == before, "it was written to"


def test_a_complete_model_there_is_used_and_the_cache_is_not_created(
    extra: Path, handle: str, cache_dir: Path, origin: Origin
) -> None:
    assert resolve(handle) == f"{extra}/{entry_name_for_key(handle)}"
    assert origin.requests == [] and not cache_dir.exists()


def test_it_is_searched_before_the_cache(extra: Path, handle: str, cache_dir: Path) -> None:
    shutil.copytree(extra, cache_dir)
    assert resolve(handle) == f"{extra}/{entry_name_for_key(handle)}"


def test_the_first_of_several_wins(extra: Path, handle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(extra, tmp_path / "other")
    monkeypatch.setenv(VARIABLE, f"{tmp_path}/other{os.pathsep}{extra}")
    assert resolve(handle) == f"{tmp_path}/other/{entry_name_for_key(handle)}"


def test_a_damaged_model_there_is_skipped(writable_extra: Path, handle: str, cache_dir: Path) -> None:
    (writable_extra / entry_name_for_key(handle) / "saved_model.pb").unlink()
    before = read_mtimes(writable_extra)
    assert resolve(handle) == f"{cache_dir}/{entry_name_for_key(handle)}"
    assert read_mtimes(writable_extra) == before


def test_a_root_that_cannot_be_read_is_skipped_with_a_warning(
    handle: str, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no directory")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.setenv(VARIABLE, f"{tmp_path}/file{os.pathsep}{tmp_path}/loop")
    assert resolve(handle) == f"{cache_dir}/{entry_name_for_key(handle)}"
    assert "skipped: cannot read the cache at" in caplog.text


def test_a_refresh_fetches_into_the_cache_whose_copy_wins_from_then_on(
    extra: Path, handle: str, cache_dir: Path, origin: Origin
) -> None:
    origin.put_model("/google/model/1", tar_gz(NEWER))
    fresh = f"{cache_dir}/{entry_name_for_key(handle)}"
    assert resolve(handle, refresh=True) == fresh and files_in(fresh) == NEWER
    assert resolve(handle) == fresh
    (Path(fresh) / "saved_model.pb").unlink()  # a damaged copy does not win
    assert resolve(handle) == f"{extra}/{entry_name_for_key(handle)}"


def test_a_model_whose_copy_there_does_not_match_the_pin_is_fetched(
    extra: Path, handle: str, cache_dir: Path, origin: Origin
) -> None:
    packed = tar_gz(NEWER)
    origin.put_model("/google/model/1", packed)
    pinned = f"{handle}#sha256={hashlib.sha256(packed).hexdigest()}"
    assert resolve(pinned) == f"{cache_dir}/{entry_name_for_key(handle)}"
    right = hashlib.sha256(tar_gz()).hexdigest()
    assert resolve(handle, sha256=right) == f"{extra}/{entry_name_for_key(handle)}"


def test_a_hit_there_loads_neither_tensorflow_nor_the_network(extra: Path, handle: str) -> None:
    loaded = set(run("import sys, tfimm_resolver; tfimm_resolver.resolve(sys.argv[1]); print(*sys.modules)", handle).split())
    assert loaded.isdisjoint(HEAVY), loaded.intersection(HEAVY)


def test_offline_the_error_names_it(extra: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    with pytest.raises(OfflineError) as caught:
        resolve("https://tfhub.dev/google/other/1")
    assert str(extra) in str(caught.value) and str(cache_dir) in str(caught.value)


def test_the_cache_named_as_an_extra_root_stays_the_cache(
    handle: str, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(cache_dir))
    assert resolve(handle) == f"{cache_dir}/{entry_name_for_key(handle)}"
    give_up_all()
    assert run_cli("ls")[1].count("\n") == 2 and "extra" not in run_cli("ls")[1] + run_cli("path")[1]
    assert run_cli("rm", handle)[0] == 0 and os.listdir(cache_dir) == []


def test_path_shows_it(extra: Path, tmp_path: Path) -> None:
    _, out, _ = run_cli("path")
    assert [line.split() for line in out.splitlines() if "extra" in line.split()] == [
        ["extra", f"{tmp_path}/missing", f"${VARIABLE},", "read-only"],
        ["extra", str(extra), f"${VARIABLE},", "read-only"],
    ]
    facts = json.loads(run_cli("path", "--json")[1])
    assert facts["extra"] == [{"path": f"{tmp_path}/missing", "is_there": False}, {"path": str(extra), "is_there": True}]


def test_ls_lists_its_models_and_marks_them(extra: Path, handle: str, cache_dir: Path) -> None:
    assert run_cli("ls")[1].splitlines()[1].endswith("ok (extra)")
    shutil.copytree(extra, cache_dir)
    own, extra_copy = json.loads(run_cli("ls", "--json")[1])["models"]
    assert (own["extra_root"], extra_copy["extra_root"]) == (None, str(extra))
    assert (own["path"], extra_copy["path"]) == (
        f"{cache_dir}/{entry_name_for_key(handle)}",
        f"{extra}/{entry_name_for_key(handle)}",
    )


def test_verify_reads_it_and_repairs_nothing_there(writable_extra: Path, handle: str, origin: Origin) -> None:
    assert run_cli("verify")[0] == 0
    (writable_extra / entry_name_for_key(handle) / "saved_model.pb").write_bytes(b"b graph")
    before = read_mtimes(writable_extra)
    for arguments in ([], [handle]):
        code, out, _ = run_cli("verify", "--repair", *arguments)
        assert code == 6 and "does not match its recorded sha256" in out and "read-only" in out
    assert "read-only" in run_cli("verify")[1]
    assert origin.requests == [] and read_mtimes(writable_extra) == before


def test_rm_does_not_touch_it(extra: Path, handle: str, cache_dir: Path) -> None:
    for name in (handle, entry_name_for_key(handle)[:8]):
        code, _, err = run_cli("rm", name)
        assert code == 4 and f"is in {extra}, an extra root, which is read-only" in err
    shutil.copytree(extra, cache_dir)
    assert run_cli("rm", handle)[0] == 0
    assert os.listdir(cache_dir) == [] and files_in(extra / entry_name_for_key(handle)) == MODEL
