"""A problem or a note about this environment, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tfimm_resolver.errors import ResolverError

PROBLEM, NOTE = "problem", "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: ``problem``, or ``note`` for what may be intended.
        code: names the check, for programs.
        text: what was found.
        fix: what to do.
    """

    kind: str
    code: str
    text: str
    fix: str

    def facts(self) -> dict[str, str]:
        """Return the fields that ``--json`` prints."""
        return {"code": self.code, "text": self.text, "fix": self.fix}


def make_problem(code: str, text: str, fix: str) -> Finding:
    """Return a problem."""
    return Finding(PROBLEM, code, text, fix)


def make_note(code: str, text: str, fix: str) -> Finding:
    """Return a note."""
    return Finding(NOTE, code, text, fix)


def catch_errors(*checks: Callable[[], object]) -> Iterator[Finding]:
    """Run each check, such as reading a setting, and yield each error of this package once, as a problem."""
    seen = set[str]()
    for check in checks:
        try:
            check()
        except ResolverError as error:
            if error.text not in seen:
                seen.add(error.text)
                yield make_problem(error.code, error.text, error.advice.command or "correct it, or unset what names it")
