"""Tests of ``models_file.discovery``: which models files are used, and which of them has a name."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.models_file import make_entry, write
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tests.fakes.processes import run
from tfimm_resolver import project as project_api
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


@pytest.fixture
def give_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return a function that makes a file another user's; without root's rights, it is this process that changes its user."""

    def change(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, 12345, -1, follow_symlinks=False)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: path.lstat().st_uid + 1)

    return change


def test_a_file_of_another_user_is_ignored_wherever_it_is_unless_the_variable_names_it(
    project: Path, give_away: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    foreign_file = write(project, make_entry("a"))
    give_away(foreign_file)
    for mode in (0o755, 0o775, 0o1777):
        project.chmod(mode)
        with caplog.at_level(logging.WARNING):
            assert discovery.find_entry("a") is None
    assert caplog.text.count(f"ignored {foreign_file}: it belongs to another user") == 1
    monkeypatch.setenv("TFIMM_MODELS_FILE", str(foreign_file))
    assert discovery.find_entry("a") is not None


def test_what_syncs_locks_or_adds_fails_if_a_file_was_skipped(project: Path, give_away: Callable[[Path], None]) -> None:
    outer = write(project.parent, make_entry("b"))
    give_away(write(project, make_entry("a")))
    for call in (
        project_api.sync,
        project_api.lock,
        lambda: project_api.lock(check=True),
        lambda: project_api.sync(["b"]),
        lambda: project_api.add("c", "https://models.example/m/1.tar.gz"),
    ):
        with pytest.raises(ModelsFileError, match="it belongs to another user"):
            call()
    if os.geteuid() == 0:  # else the outer file is another user's, too
        assert discovery.find_files() == [str(outer)]


def test_a_link_of_another_user_to_a_file_of_ours_is_ignored(project: Path, give_away: Callable[[Path], None]) -> None:
    write(project, make_entry("a"), "elsewhere.toml")
    link = project / discovery.FILE_NAME
    link.symlink_to("elsewhere.toml")
    assert discovery.find_entry("a") is not None
    give_away(link)
    assert discovery.find_entry("a") is None


def test_a_file_of_the_user_who_called_sudo_counts_as_root_s(
    project: Path, give_away: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(project, make_entry("a"))
    give_away(path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert discovery.find_entry("a") is None
    monkeypatch.setenv("SUDO_UID", str(path.stat().st_uid))
    assert discovery.find_entry("a") is not None


@pytest.mark.parametrize("has_access", [True, False])
def test_a_file_is_found_with_and_without_the_quick_test(
    has_access: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "_HAS_QUICK_TEST", has_access)
    assert discovery.find_files() == []
    path = write(project, make_entry("m"))
    assert discovery.find_files() == [str(path)]
    path.unlink()
    path.symlink_to(project / "gone")
    assert discovery.find_files() == []
    path.unlink()
    path.mkdir()
    assert discovery.find_files() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have another real user")
def test_the_effective_user_finds_a_file_that_the_real_one_cannot(project: Path) -> None:
    path = write(project, make_entry("m"))
    project.chmod(0o700)
    code = """
        import os
        from tfimm_resolver.models_file import discovery
        os.setresuid(54321, 0, 0)
        print(discovery.find_files())
    """
    assert run(code) == str([str(path)])
