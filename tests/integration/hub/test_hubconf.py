"""Tests of ``hub.hubconf``: dependencies, entry points and their errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfimm_resolver.errors import EntryPointError, HandleError, MissingDependencyError
from tfimm_resolver.hub.hubconf import Hubconf

TEXT = """
dependencies = ["json"]
_hidden = print
number = 3

def one(x=1):
    return [x]

def fails():
    raise KeyError("reason")
"""


def write(folder: Path, text: str) -> str:
    """Write a hubconf.py, and return its directory."""
    folder.mkdir(exist_ok=True)
    (folder / "hubconf.py").write_text(text)
    return str(folder)


def test_public_callables_are_entry_points(tmp_path: Path) -> None:
    hubconf = Hubconf(write(tmp_path / "a", TEXT))
    assert hubconf.list_names() == ["fails", "one"]
    assert hubconf.call("one", x=2) == [2]
    listed = Hubconf(write(tmp_path / "b", f"{TEXT}\n__all__ = ['_hidden', 'number', 'gone']"))
    assert listed.list_names() == ["_hidden"], "__all__ decides, but only callables count"


def test_errors_name_the_entry_point_and_the_known_ones(tmp_path: Path) -> None:
    hubconf = Hubconf(write(tmp_path / "a", TEXT))
    with pytest.raises(EntryPointError, match="Cannot find callable number in hubconf") as caught:
        hubconf.get_entry("number")
    assert "Its entry points are: fails, one." in str(caught.value)
    with pytest.raises(HandleError, match="should be a string"):
        hubconf.get_entry(None)  # type: ignore[arg-type]
    with pytest.raises(EntryPointError, match=r"the entry point fails of .* failed: KeyError") as failed:
        hubconf.call("fails")
    assert isinstance(failed.value.__cause__, KeyError)


@pytest.mark.parametrize("text", ["dependencies = ['no_such_module']", "dependencies: list[str] = ['no_such_module']"])
def test_missing_dependencies_are_reported_before_the_code_runs(text: str, tmp_path: Path) -> None:
    code = f"{text}\nopen({str(tmp_path / 'ran')!r}, 'w').close()"
    with pytest.raises(MissingDependencyError, match="Missing dependencies: no_such_module"):
        Hubconf(write(tmp_path / "a", code))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("text", "message"), [("1 +", "cannot be read"), ("1 / 0", "cannot be imported: ZeroDivisionError")])
def test_a_hubconf_that_fails_can_be_corrected_and_imported_again(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(EntryPointError, match=message):
        Hubconf(write(tmp_path / "a", text))
    assert Hubconf(write(tmp_path / "a", TEXT)).list_names() == ["fails", "one"]


def test_modules_of_a_failed_import_are_forgotten(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", "import helper\n1 / 0")
    (tmp_path / "a/helper.py").write_text("x = 1")
    with pytest.raises(EntryPointError, match="ZeroDivisionError"):
        Hubconf(folder)
    (tmp_path / "a/helper.py").write_text("x = 'corrected'")
    write(tmp_path / "a", "import helper\ndef one():\n    return helper.x")
    assert Hubconf(folder).call("one") == "corrected"
