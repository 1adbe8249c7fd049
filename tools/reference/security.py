"""Pages that are copies of files elsewhere: SECURITY.md, whose links are relative to the repository, and troubleshooting."""

from __future__ import annotations

from pathlib import Path

_POLICY = Path(__file__).parents[2] / "SECURITY.md"
_TROUBLESHOOTING = Path(__file__).parents[2] / "tfimm_resolver" / "cli" / "troubleshooting.md"
_NOTE = "<!-- Written by `make reference`: change SECURITY.md instead. -->\n"


def make_page() -> str:
    """Return the page."""
    return f"{_NOTE}\n{_POLICY.read_text(encoding='utf-8').replace('](docs/', '](').replace('[docs/', '[')}"


def make_troubleshooting_page() -> str:
    """Return the page "Troubleshooting", which is in the package for the command ``explain``."""
    note = _NOTE.replace("SECURITY.md", "tfimm_resolver/cli/troubleshooting.md")
    return f"{note}\n{_TROUBLESHOOTING.read_text(encoding='utf-8')}"
