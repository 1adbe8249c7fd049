"""models.config: its text, and that another program's file is never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.serving import take_snapshot
from tfimm_resolver.errors import CacheError
from tfimm_resolver.integrations.serving.serving_config import FILE_NAME, check_models_config, write_models_config


def make_versions(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name / "1").mkdir(parents=True)


def test_models_with_a_version_are_listed(tmp_path: Path) -> None:
    make_versions(tmp_path / "served", "half", "other")
    (tmp_path / "served" / "empty").mkdir()
    path = Path(write_models_config(tmp_path / "served", ["other", "half", "empty", "missing"], base_path="/models"))
    text = path.read_text()
    assert [line.strip() for line in text.splitlines() if line.startswith("    base_path")] == [
        'base_path: "/models/half"',
        'base_path: "/models/other"',
    ]
    assert text.startswith("# Written by tfimm_resolver") and text.count("{") == text.count("}") == 3


def test_run_again_nothing_changes(tmp_path: Path) -> None:
    make_versions(tmp_path / "served", "half")
    write_models_config(tmp_path / "served", ["half"])
    before = take_snapshot(tmp_path / "served")
    write_models_config(tmp_path / "served", ["half"])
    assert take_snapshot(tmp_path / "served") == before


@pytest.mark.parametrize("base_path", ["/models", '/a "b" \\c', "/m\n}é", "/000"])
def test_a_base_path_is_kept_until_another_one_is_given(base_path: str, tmp_path: Path) -> None:
    (tmp_path / "served/half/1").mkdir(parents=True)
    path = Path(write_models_config(tmp_path / "served", ["half"], base_path=base_path))
    before = path.read_text()
    assert write_models_config(tmp_path / "served", ["half"]) == str(path) and path.read_text() == before
    write_models_config(tmp_path / "served", [])
    write_models_config(tmp_path / "served", ["half"])
    assert path.read_text() == before
    write_models_config(tmp_path / "served", ["half"], base_path="/other")
    assert 'base_path: "/other/half"' in path.read_text()


def test_without_a_base_path_a_directory_that_was_moved_is_named_as_it_is_now(tmp_path: Path) -> None:
    (tmp_path / "served/half/1").mkdir(parents=True)
    write_models_config(tmp_path / "served", ["half"])
    (tmp_path / "served").rename(tmp_path / "moved")
    path = Path(write_models_config(tmp_path / "moved", ["half"]))
    assert f'base_path: "{tmp_path}/moved/half"' in path.read_text()


def test_special_characters_are_escaped(tmp_path: Path) -> None:
    name = 'a "b" ü'
    make_versions(tmp_path / "served", name)
    text = Path(write_models_config(tmp_path / "served", [name])).read_text()
    assert '"a \\042b\\042 \\303\\274"' in text and text.isascii()


def test_a_path_that_is_not_a_text_is_an_error_since_no_server_could_read_the_file(tmp_path: Path) -> None:
    make_versions(tmp_path / "served", "half")
    with pytest.raises(CacheError, match="it is not a text"):
        write_models_config(tmp_path / "served", ["half"], base_path="/models\udcff")
    assert not (tmp_path / "served" / FILE_NAME).exists()


@pytest.mark.parametrize("text", ["", "model_config_list {}", "\n# Written by tfimm_resolver"])
def test_a_file_of_another_program_stays(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    for call in (lambda: write_models_config(tmp_path, []), lambda: check_models_config(str(tmp_path))):
        with pytest.raises(CacheError, match="was not written by tfimm_resolver"):
            call()
    assert (tmp_path / FILE_NAME).read_text() == text


def test_a_directory_of_that_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(CacheError, match="cannot read"):
        check_models_config(str(tmp_path))
