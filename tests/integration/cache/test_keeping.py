"""Entries that are not evicted by themselves: those that a user keeps, and those that a models file names."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tfimm_resolver.cache import keeping
from tfimm_resolver.cache.local_root import LocalRoot

NAME, OTHER = "0" * 40, "1" * 40


@pytest.fixture
def root(tmp_path: Path) -> LocalRoot:
    (tmp_path / "root").mkdir()
    return LocalRoot(str(tmp_path / "root"))


@pytest.fixture
def models_file(tmp_path: Path) -> Path:
    path = tmp_path / "tfimm-models.toml"
    path.touch()
    return path


def list_project_entries(root: LocalRoot) -> set[str]:
    return keeping.list_project_entries(root, root.list_names(), time.time())


def test_an_entry_is_protected_until_that_is_undone(root: LocalRoot) -> None:
    keeping.set_protected(root, NAME, is_protected=True)
    assert keeping.list_protected(root.list_names()) == {NAME}
    for _ in range(2):
        keeping.set_protected(root, NAME, is_protected=False)
        assert root.list_names() == []


def test_removing_an_entry_removes_its_protection(root: LocalRoot) -> None:
    keeping.set_protected(root, NAME, is_protected=True)
    root.remove(NAME)
    assert root.list_names() == []


def test_the_models_of_a_project_are_noted(root: LocalRoot, models_file: Path) -> None:
    paths = [root.path_of(f"{NAME}/1"), "/elsewhere/model"]
    keeping.note_project(root, str(models_file), paths, is_complete=True)
    assert list_project_entries(root) == {NAME}
    keeping.note_project(root, str(models_file), [root.path_of(f"{OTHER}.0123abcd")], is_complete=False)
    assert list_project_entries(root) == {NAME, OTHER}
    keeping.note_project(root, str(models_file), [root.path_of(OTHER)], is_complete=True)
    assert list_project_entries(root) == {OTHER}


def test_a_models_file_that_is_gone_or_was_not_used_for_months_protects_nothing(root: LocalRoot, models_file: Path) -> None:
    keeping.note_project(root, str(models_file), [root.path_of(NAME)], is_complete=True)
    (note,) = (root.path_of(name) for name in root.list_names())
    old_s = time.time() - 100 * 86400
    os.utime(note, (old_s, old_s))
    assert list_project_entries(root) == set()
    os.utime(note)
    assert list_project_entries(root) == {NAME}
    models_file.unlink()
    assert list_project_entries(root) == set()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "5", '["file", 5, null]', "[" * 100_000])
def test_a_note_that_others_wrote_is_ignored(root: LocalRoot, text: str) -> None:
    root.write("tfimm_resolver.project-0123456789ab.txt", text)
    assert list_project_entries(root) == set()
