"""Tests of what is remembered of searched models, and of who can change that."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tests.fakes.graphs import make_node
from tests.fakes.operations import Model, make_harmless_model, make_loading_model, make_text, make_writer
from tfimm_resolver._util import clock
from tfimm_resolver.resolution import scan_memory
from tfimm_resolver.saved_model import operations

FOUND = [("write", "/tmp/planted")]


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files of these tests have been written a minute ago."""
    now_ns = clock.get_time_ns
    monkeypatch.setattr(clock, "get_time_ns", lambda: now_ns() + 60 * 10**9)
    scan_memory._known.clear()


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The directories that were really searched."""
    found: list[str] = []
    search = operations.find_operations
    monkeypatch.setattr(operations, "find_operations", lambda path, **how: found.append(path) or search(path, **how))
    return found


def find(path: Path) -> list[tuple[str, str | None]]:
    return [(one.kind, one.path) for one in scan_memory.find_operations(str(path))]


def get_folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / ".cache" / "tfimm_resolver" / "scans"


def test_a_model_is_searched_once_in_a_process(tmp_path: Path, searches: list[str]) -> None:
    model = make_loading_model().write(tmp_path / "m")
    assert find(model) == find(model) == FOUND and len(searches) == 1


def test_a_result_without_requests_is_not_that_of_a_model_that_is_warmed_up(tmp_path: Path) -> None:
    path = make_node("path", "Placeholder")
    nodes = [path, make_text("contents", "x"), make_writer()]
    model = str(Model(nodes=nodes, inputs=["path:0"], outputs=["write:0"]).write(tmp_path / "m"))
    for _ in range(2):
        assert scan_memory.find_operations(model) == ()
        assert [one.when for one in scan_memory.find_operations(model, is_warmed=True)] == ["on load"]
        scan_memory._known.clear()


def test_another_process_reads_the_result(tmp_path: Path, searches: list[str]) -> None:
    model = make_loading_model().write(tmp_path / "m")
    find(model)
    scan_memory._known.clear()
    assert find(model) == FOUND and len(searches) == 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in (get_folder(tmp_path), get_folder(tmp_path).parent)} == {0o700}


@pytest.mark.parametrize("name", ["saved_model.pb", "keras_metadata.pb"])
def test_a_changed_file_is_searched_again_also_if_its_size_and_time_are_the_same(
    name: str, tmp_path: Path, searches: list[str]
) -> None:
    model = make_harmless_model()
    model.metadata = ['{"class_name": "Dense", "config": {}}']
    path = model.write(tmp_path / "m")
    assert find(path) == []
    before = (path / name).stat()
    changed = (path / name).read_bytes().replace(b'Dense", "config"', b'Lambd", "config"')
    (path / name).write_bytes(changed)
    os.utime(path / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path / name).stat().st_size == before.st_size
    find(path)
    scan_memory._known.clear()
    find(path)
    assert len(searches) == 2


def test_a_result_that_cannot_be_written_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    model = make_loading_model().write(tmp_path / "m")
    monkeypatch.setattr(os, "replace", fail)
    assert find(model) == FOUND and os.listdir(get_folder(tmp_path)) == []


def test_another_file_in_its_place_is_searched(tmp_path: Path) -> None:
    path = make_harmless_model().write(tmp_path / "m")
    assert find(path) == []
    make_loading_model().write(tmp_path / "other")
    os.replace(tmp_path / "other" / "saved_model.pb", path / "saved_model.pb")
    assert find(path) == FOUND


def test_a_file_that_others_can_write_is_searched_each_time(tmp_path: Path, searches: list[str]) -> None:
    path = make_harmless_model().write(tmp_path / "m")
    (path / "saved_model.pb").chmod(0o666)
    assert find(path) == find(path) == [] and len(searches) == 2
    assert not get_folder(tmp_path).exists()


def test_a_file_that_was_changed_a_moment_ago_is_searched_each_time(
    tmp_path: Path, searches: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_harmless_model().write(tmp_path / "m")
    monkeypatch.setattr(clock, "get_time_ns", lambda: (path / "saved_model.pb").stat().st_ctime_ns + 10**9)
    assert find(path) == find(path) == [] and len(searches) == 2


def plant(folder: Path) -> None:
    """Replace every stored result by an empty one."""
    for file in folder.iterdir():
        value = json.loads(file.read_text())
        file.write_text(json.dumps({**value, "operations": []}))


@pytest.mark.parametrize("depth", [0, 1], ids=["the directory", "the one around it"])
@pytest.mark.parametrize("change", ["mode", "link"])
def test_results_in_a_directory_that_others_can_write_do_not_count(depth: int, change: str, tmp_path: Path) -> None:
    model = make_loading_model().write(tmp_path / "m")
    find(model)
    folder = get_folder(tmp_path)
    plant(folder)
    guarded = (folder, folder.parent)[depth]
    if change == "mode":
        guarded.chmod(0o777)
    else:
        guarded.rename(tmp_path / "elsewhere")
        guarded.symlink_to(tmp_path / "elsewhere")
    scan_memory._known.clear()
    assert find(model) == FOUND


def test_a_result_of_another_state_does_not_count(tmp_path: Path) -> None:
    model = make_loading_model().write(tmp_path / "m")
    find(model)
    file = next(get_folder(tmp_path).iterdir())
    file.write_text(json.dumps({"state": "other", "operations": []}))
    scan_memory._known.clear()
    assert find(model) == FOUND


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"state": 1}'])
def test_a_damaged_result_does_not_count(text: str, tmp_path: Path) -> None:
    model = make_loading_model().write(tmp_path / "m")
    find(model)
    next(get_folder(tmp_path).iterdir()).write_text(text)
    scan_memory._known.clear()
    assert find(model) == FOUND


def test_what_cannot_be_stored_is_found_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "home" / ".cache").write_text("a file")
    assert find(make_loading_model().write(tmp_path / "m")) == FOUND


def test_old_results_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_memory, "_RESULTS_MAX", 4)
    for number in range(9):
        find(make_loading_model(f"/tmp/{number}").write(tmp_path / str(number)))
    assert len([*get_folder(tmp_path).iterdir()]) <= 4


def test_a_missing_graph_is_an_error_of_ours(tmp_path: Path) -> None:
    from tfimm_resolver.errors import LoadError

    with pytest.raises(LoadError):
        scan_memory.find_operations(str(tmp_path))
