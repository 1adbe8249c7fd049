"""The security policy as a page of the site: SECURITY.md, whose links are relative to the repository."""

from __future__ import annotations

from pathlib import Path

_POLICY = Path(__file__).parents[2] / "SECURITY.md"
_NOTE = "<!-- Written by `make reference`: change SECURITY.md instead. -->\n"


def make_page() -> str:
    """Return the page."""
    return f"{_NOTE}\n{_POLICY.read_text(encoding='utf-8').replace('](docs/', '](').replace('[docs/', '[')}"
