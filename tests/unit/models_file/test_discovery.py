"""Tests of ``models_file.discovery``: which models files are used, and which of them has a name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.models_file import make_entry, write
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tfimm_resolver.errors import ModelsFileError
from tfimm_resolver.models_file import discovery


def test_the_nearest_file_is_used_unless_the_variable_names_others(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert discovery.find_files() == [] and discovery.list_entries() == []
    outer = write(project.parent, make_entry("m"))
    assert discovery.find_files() == [str(outer)]
    inner = write(project, make_entry("n"))
    assert discovery.find_files() == [str(inner)]
    monkeypatch.setenv("TFIMM_MODELS_FILE", f"{outer}{os.pathsep}{inner}")
    assert discovery.find_files() == [str(outer), str(inner)]
    assert [entry.name for entry in discovery.list_entries()] == ["m", "n"]


def test_the_first_file_with_the_name_or_alias_wins(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(project, make_entry("a", "https://host/1.tgz", 'aliases = ["m"]'), "first.toml")
    second = write(project, make_entry("m", "https://host/2.tgz"), "second.toml")
    monkeypatch.setenv("TFIMM_MODELS_FILE", f"{first}{os.pathsep}{second}")
    entry = discovery.find_entry("m")
    assert entry is not None and (entry.name, entry.file) == ("a", str(first))
    assert discovery.find_entry("gone") is None
    assert [entry.name for entry in discovery.list_entries()] == ["a"], "the second is hidden by an alias"


def test_errors_name_the_file_and_the_line(project: Path) -> None:
    with pytest.raises(ModelsFileError, match=f"{project}/gone.toml cannot be read"):
        discovery.read_entries(f"{project}/gone.toml")
    (project / "m.toml").write_bytes(b"# ok\n# \xff\n")
    with pytest.raises(ModelsFileError, match=f"{project}/m.toml:2: this is not UTF-8"):
        discovery.read_entries(f"{project}/m.toml")
