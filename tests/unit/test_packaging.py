"""Tests of setup.cfg: the supported versions of Python, and a lowest version for every dependency."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.fakes.pages import REPOSITORY

SETUP = (REPOSITORY / "setup.cfg").read_text()
PYPROJECT = (REPOSITORY / "pyproject.toml").read_text()
LOWEST = "3.10"
VERSION = re.compile(r"Programming Language :: Python :: (3\.\d+)$", re.MULTILINE)


def read_setup(text: str) -> configparser.ConfigParser:
    """Parse the text of a setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read_string(text)
    return setup


def read_requirements(text: str) -> Iterator[Requirement]:
    """Yield every requirement of the package and its extras, except those on its own extras."""
    setup = read_setup(text)
    lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    for requirement in (Requirement(line) for lines in lists for line in lines.split("\n") if line):
        if requirement.name != setup["metadata"]["name"]:
            yield requirement


def find_unbounded(text: str) -> list[str]:
    """Return each requirement without a lowest version."""
    return [
        str(requirement)
        for requirement in read_requirements(text)
        if not any(part.operator in (">=", "==", "~=") for part in requirement.specifier)
    ]


def find_python_faults(setup_text: str, pyproject: str) -> list[str]:
    """Return a message for each setting with another lowest version of Python."""
    setup, faults = read_setup(setup_text), []
    promised, classified = setup["options"]["python_requires"], VERSION.findall(setup["metadata"]["classifiers"])
    if promised != f">={LOWEST}":
        faults.append(f"python_requires is {promised}")
    if not classified or classified[0] != LOWEST or any(version not in SpecifierSet(promised) for version in classified):
        faults.append(f"the classifiers are {classified}")
    if setup["mypy"]["python_version"] != LOWEST:
        faults.append(f"mypy checks for {setup['mypy']['python_version']}")
    if f'target-version = "py{LOWEST.replace(".", "")}"' not in pyproject:
        faults.append("ruff checks for another version")
    return faults


def test_every_requirement_has_a_lowest_version() -> None:
    assert len(list(read_requirements(SETUP))) > 30
    assert find_unbounded(SETUP) == []


@pytest.mark.parametrize("line", ["filelock", "filelock<5", "filelock!=4.2", 'filelock; python_version < "3.11"'])
def test_a_requirement_without_one_is_seen(line: str) -> None:
    assert find_unbounded(SETUP.replace('filelock>=4.1; sys_platform == "win32"', line)) == [str(Requirement(line))]


@pytest.mark.parametrize("name", ["filelock", "obstore", "huggingface_hub"])
def test_the_lowest_version_is_one_that_the_lowest_python_can_install(name: str) -> None:
    newest = {"filelock": "4.1.0", "obstore": "0.11.1", "huggingface_hub": "2.4.0"}[name]  # of those for Python 3.10
    found = [
        one
        for one in read_requirements(SETUP)
        if one.name == name and (not one.marker or one.marker.evaluate({"python_version": LOWEST, "sys_platform": "win32"}))
    ]
    assert found and all(newest in one.specifier for one in found)


def test_all_places_promise_the_same_versions_of_python() -> None:
    assert find_python_faults(SETUP, PYPROJECT) == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("setup", "python_requires = >=3.10", "python_requires = >=3.9"),
        ("setup", "Python :: 3.10", "Python :: 3.9"),
        ("setup", "python_version = 3.10", "python_version = 3.11"),
        ("pyproject", "py310", "py311"),
    ],
)
def test_a_place_that_promises_another_one_is_seen(file: str, old: str, new: str) -> None:
    texts = {"setup": SETUP, "pyproject": PYPROJECT}
    assert old in texts[file]
    texts[file] = texts[file].replace(old, new)
    assert find_python_faults(texts["setup"], texts["pyproject"]) != []
