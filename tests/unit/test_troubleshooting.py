"""Tests of docs/guides/troubleshooting.md: it has one entry for each error class, with the facts of that class."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tfimm_resolver import errors

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "troubleshooting.md"
_BUILTINS = (
    FileNotFoundError,
    PermissionError,
    TimeoutError,
    ImportError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)
"""From the most derived class: an entry names one of them, not those that it implies."""


def read_entries(text: str) -> dict[str, str]:
    """Return the text below each heading of the second level."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def list_facts(name: str) -> list[str]:
    """Return the facts that an entry has to state: exit code, base class, and a builtin class that it is, too."""
    kind = getattr(errors, name)
    parent = kind.__bases__[0]
    facts = [f"exit code {kind.exit_code}"]
    if parent not in (errors.ResolverError, Exception):
        facts.append(f"`{parent.__name__}`")
    builtin = next((one for one in _BUILTINS if issubclass(kind, one)), None)
    if builtin is not None and not issubclass(parent, builtin):
        facts.append(f"`{builtin.__name__}`")
    return facts


def find_faults(text: str) -> list[str]:
    """Return what is missing or wrong on the page."""
    entries = read_entries(text)
    faults = [f"{name}: no entry" for name in sorted({*errors.__all__} - {*entries})]
    faults += [f"{name}: not an error class" for name in sorted({*entries} - {*errors.__all__})]
    for name in sorted({*entries} & {*errors.__all__}):
        faults += [f"{name}: {fact} is not named" for fact in list_facts(name) if fact.lower() not in entries[name].lower()]
    return faults


def test_each_error_class_has_an_entry_with_its_facts() -> None:
    assert find_faults(PAGE.read_text()) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("## AccessError\n", "", "AccessError: no entry"),
        ("## CacheError\n", "## CasheError\n", "CasheError: not an error class"),
        ("*Exit code 4; also an `OSError`.*", "*Exit code 3; also an `OSError`.*", "CacheError: exit code 4 is not named"),
        (
            "also a `PermissionError`.* The server",
            "also a `ValueError`.* The server",
            "AccessError: `PermissionError` is not named",
        ),
        ("a `NotFoundError`, also a `ValueError`", "also a `ValueError`", "UnknownRefError: `NotFoundError` is not named"),
    ],
)
def test_a_page_that_is_wrong_is_noticed(old: str, new: str, fault: str) -> None:
    text = PAGE.read_text()
    assert old in text
    assert fault in find_faults(text.replace(old, new, 1))
