"""Each place that raises an error of this package says what to do, in its fix or in its text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tfimm_resolver
from tfimm_resolver import errors

PACKAGE = Path(tfimm_resolver.__file__).parent
SAYS_IT = re.compile(r", not |has to be|: check |use one of them|Allowed values")
"""A text that names what is accepted, as for an argument of the wrong type, says what to do."""

REASONS = {
    "maintenance/foreign_caches.py": "the reason why a model is not adopted, in a table of the command adopt",
    "maintenance/foreign_files.py": "the same",
    "transfer/parallel_ranges.py": "ends the threads of a download that another error ends",
    "cache/bucket_lease.py": "is handled: the store has no conditional writes",
}
"""Files whose errors without a fix are texts for other messages."""


@dataclass(frozen=True)
class Raised:
    """A call of an error class."""

    where: str
    file: str
    text: str


def list_without_fix(file: str, code: str) -> Iterator[Raised]:
    """Yield each call of an error class that gives no fix, and whose class has none of its own."""
    for node in ast.walk(ast.parse(code)):
        name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        if name not in errors.__all__ or not isinstance(node, ast.Call) or len(node.args) != 1:
            continue
        if {"fix", None} & {keyword.arg for keyword in node.keywords} or getattr(errors, name)("m").fix:
            continue
        yield Raised(f"{file}:{node.lineno}", file, ast.unparse(node.args[0]))


def find_faults(file: str, code: str) -> list[str]:
    """Return the calls of error classes in a file that do not say what to do."""
    found = (one for one in list_without_fix(file, code) if not SAYS_IT.search(one.text))
    return [f"{one.where}: {one.text}" for one in found if one.file not in REASONS]


def test_every_error_says_what_to_do() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    faults = [fault for path in files for fault in find_faults(str(path.relative_to(PACKAGE)), path.read_text())]
    assert faults == []


def test_the_list_of_exceptions_has_no_needless_entry() -> None:
    for file in REASONS:
        assert [*list_without_fix(file, (PACKAGE / file).read_text())], f"{file} needs no entry"


@pytest.mark.parametrize(
    ("code", "number"),
    [
        ("FetchError(f'{url} failed')", 1),
        ("raise CacheError('x', is_passing=True) from error", 1),
        ("FetchError('x', fix='Try again.')", 0),
        ("FetchError('x', **properties)", 0),
        ("ArchiveError('x')", 0),
        ("HandleError(f'a name is a str, not {kind}')", 0),
        ("ValueError('x')", 0),
    ],
)
def test_an_error_without_a_fix_is_found(code: str, number: int) -> None:
    assert len(find_faults("a.py", code)) == number
