"""The map of the code in BUILD_NOTES: each file that it names exists, and each name is defined in its file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "tfimm_resolver"
NOTES = (REPOSITORY / "BUILD_NOTES.md").read_text()

_CHAPTER = re.compile(r"^## Map\n(.*?)^## ", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| (?!---)(.*?) \| (.*) \|$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
_PATH = re.compile(r"[\w./]+(?:/|\.\w+)")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?")

TOPICS = {
    "where is": ("retried", "lock", "record", "archive", "errors", "settings"),
    "to add": ("source", "rule", "root", "command", "archive format", "setting"),
}
"""What the map has to answer, by the heading of each table."""


def read_map(notes: str) -> Iterator[tuple[str, str, str]]:
    """Find the rows of the map: the heading of their table, the topic, and the answer."""
    chapter = _CHAPTER.search(notes)
    heading = ""
    for row in _ROW.finditer(chapter[1] if chapter else ""):
        if row[1] in TOPICS:
            heading = row[1]
        else:
            yield heading, row[1], row[2]


def find_faults(notes: str) -> list[str]:
    """Name each file of the map that does not exist, and each name that its file does not define.

    A name belongs to the file before it in its row, or where there is none to the first one after it.
    """
    faults = []
    for _, topic, answer in read_map(notes):
        words = _CODE.findall(answer)
        paths = [word for word in words if is_path(word)]
        if not paths:
            faults.append(f"{topic}: no file is named")
            continue
        faults += [f"{topic}: {path} does not exist" for path in paths if not locate(path).exists()]
        current = paths[0]
        for word in words:
            if is_path(word):
                current = word
            elif _NAME.fullmatch(word) and word not in define(locate(current)):
                faults.append(f"{topic}: {current} does not define {word}")
    return faults


def is_path(word: str) -> bool:
    """Whether a word of the map is a file or, with a slash at its end, a folder."""
    return _PATH.fullmatch(word) is not None and ("/" in word or word.endswith(".py"))


def locate(path: str) -> Path:
    """Return where a path of the map is: below the package, or below the repository if it begins with tests/."""
    return (REPOSITORY if path.startswith("tests/") else PACKAGE) / path


def define(path: Path) -> set[str]:
    """Return the names that a module defines, those in its classes as Class.name; of a folder, all of its modules."""
    if path.is_dir():
        return {name for module in path.glob("*.py") for name in define(module)}
    if path.suffix != ".py" or not path.exists():
        return set()
    found = set()
    for node in ast.parse(path.read_text()).body:
        names = _find_names(node)
        found |= names
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for inner in node.body for name in _find_names(inner)}
    return found


def _find_names(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def test_each_file_exists_and_defines_its_names() -> None:
    assert find_faults(NOTES) == []


@pytest.mark.parametrize(("heading", "topic"), [(heading, topic) for heading, topics in TOPICS.items() for topic in topics])
def test_the_map_answers(heading: str, topic: str) -> None:
    assert any(heading == found and topic in row for found, row, _ in read_map(NOTES))


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("`cache/cache.py` `Cache.ensure`", "`cache/cash.py` `Cache.ensure`", "cache/cash.py does not exist"),
        ("`cache/cache.py` `Cache.ensure`", "`cache/cache.py` `Cache.insure`", "does not define Cache.insure"),
        ("`cache/cache.py` `Cache.ensure`", "`Cache.ensure`", "no file is named"),
        ("`resolution/rules.py` `RULES`", "`resolution/rules.py` `ROLES`", "resolution/rules.py does not define ROLES"),
        ("`sources/` with `SCHEMES`", "`sources/` with `SCHEMATA`", "sources/ does not define SCHEMATA"),
    ],
)
def test_a_wrong_row_is_noticed(right: str, wrong: str, fault: str) -> None:
    assert right in NOTES
    faults = find_faults(NOTES.replace(right, wrong))
    assert any(fault in one for one in faults), faults
