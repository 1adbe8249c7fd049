"""Tests of ``hub.dependencies``: import names, and those that pip knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfimm_resolver import hub
from tfimm_resolver.errors import EntryPointError, MissingDependencyError


def load(folder: Path, dependencies: list[str], body: str = "return 1") -> object:
    """Load the entry point of a repository with these dependencies."""
    (folder / "hubconf.py").write_text(f"dependencies = {dependencies!r}\ndef net():\n    {body}\n")
    return hub.load(folder, "net", source="local")


@pytest.mark.parametrize("name", ["typing-extensions", "typing_extensions", "absl", "absl-py", "numpy>=1.20", "Markdown"])
def test_an_installed_package_may_be_given_by_its_module_or_by_its_name_for_pip(name: str, tmp_path: Path) -> None:
    assert load(tmp_path, [name]) == 1


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("fitz", "fitz is imported from the package PyMuPDF: pip install PyMuPDF"),
        ("PyMuPDF", "PyMuPDF is imported as fitz: pip install PyMuPDF"),
        ("pyserial", "pyserial is imported as serial: pip install pyserial"),
        ("opencv-contrib-python", "opencv-contrib-python is imported as cv2: pip install opencv-contrib-python"),
    ],
)
def test_a_missing_one_is_named_as_pip_knows_it(name: str, advice: str, tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match=f"Missing dependencies: no_such_thing, {name}\n") as caught:
        load(tmp_path, ["json", "no_such_thing", name])
    assert advice in caught.value.fix and "no_such_thing" not in caught.value.fix


def test_a_missing_module_that_is_not_declared_is_named_too(tmp_path: Path) -> None:
    with pytest.raises(EntryPointError, match="No module named 'fitz'") as caught:
        load(tmp_path, [], "import fitz.utils")
    assert "pip install PyMuPDF" in caught.value.fix
