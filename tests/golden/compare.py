"""Differences between two recordings, and the list of those that were intended."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tomlkit

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ACCEPTED_FILE = Path(__file__).with_name("accepted.toml")
_HEAD = """\
Intended differences between the base commit and the working tree, each with its reason.
Written by `python -m tests.golden --accept REASON`.
"""

Recording = Mapping[str, Sequence[str]]
"""What one run of a scenario showed: lines, by the title of their section."""


@dataclass(frozen=True)
class Difference:
    """One section of one scenario that differs.

    Attributes:
        diff: the lines that went and came, each with its sign, without context.
        shown: the same as a unified diff, with context.
    """

    scenario: str
    section: str
    diff: str
    context: str = field(default="", compare=False)


@dataclass(frozen=True)
class Accepted:
    """Differences that were intended, by reason, and the commit to which they were found."""

    base: str
    reasons: Mapping[Difference, str]


def find_differences(scenario: str, before: Recording, after: Recording) -> list[Difference]:
    """Compare two recordings of one scenario, section by section."""
    found = []
    for section in dict.fromkeys([*before, *after]):
        old, new = before.get(section, []), after.get(section, [])
        if list(old) != list(new) or (section in before) != (section in after):
            found.append(Difference(scenario, section, _format_changes(old, new), _format_context(old, new)))
    return found


def _format_changes(old: Sequence[str], new: Sequence[str]) -> str:
    lines = list(difflib.unified_diff(old, new, n=0, lineterm=""))[2:]
    return "\n".join("" if line.startswith("@@") else line for line in lines).strip("\n")


def _format_context(old: Sequence[str], new: Sequence[str]) -> str:
    return "\n".join(list(difflib.unified_diff(old, new, n=3, lineterm=""))[2:])


def split(
    found: Iterable[Difference], accepted: Iterable[Difference], scenarios: Iterable[str]
) -> tuple[list[Difference], list[Difference]]:
    """Return the new differences, and the accepted ones that these scenarios no longer show."""
    found, accepted, names = list(found), list(accepted), set(scenarios)
    new = [one for one in found if one not in accepted]
    gone = [one for one in accepted if one.scenario in names and one not in found]
    return new, gone


def read_base(file: Path) -> str:
    """Return the commit that a list of intended differences is for."""
    return str(tomllib.loads(file.read_text(encoding="utf-8"))["base"])


def read_accepted(file: Path, base: str) -> Accepted:
    """Read the list of intended differences to a base commit; it is empty if there is none for this base."""
    facts = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if facts.get("base") != base:
        return Accepted(base, {})
    entries = {
        Difference(entry["scenario"], entry["section"], entry["diff"].strip("\n")): entry["reason"]
        for entry in facts.get("difference", [])
    }
    return Accepted(base, entries)


def write_accepted(accepted: Accepted, file: Path) -> None:
    """Write the list of intended differences, sorted, so that two branches merge."""
    document = tomlkit.document()
    for line in _HEAD.splitlines():
        document.add(tomlkit.comment(line))
    document.add("base", tomlkit.item(accepted.base))
    entries = tomlkit.aot()
    for one, reason in sorted(accepted.reasons.items(), key=lambda item: (item[0].scenario, item[0].section, item[0].diff)):
        entry = tomlkit.table()
        entry.add("scenario", one.scenario)
        entry.add("section", one.section)
        entry.add("reason", reason)
        entry.add("diff", tomlkit.string(f"\n{one.diff}\n", multiline=True))
        entries.append(entry)
    if entries:
        document.add("difference", entries)
    file.write_text(tomlkit.dumps(document), encoding="utf-8")
