"""The syntax of git's names: commit hashes, and refs, which are branches and tags."""

from __future__ import annotations

import re
from urllib.parse import unquote

from tfimm_resolver.handles.fragment import format_subdirectory

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A full commit hash, SHA-1 or SHA-256."""

_INVALID_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|^[-/.]|[/.]$|//")


def is_ref(text: str) -> bool:
    """Whether a branch or a tag may have this name (https://git-scm.com/docs/git-check-ref-format), and it is printable."""
    return bool(text) and not _INVALID_REF.search(text) and text.isprintable()


def format_github_handle(repository: str, ref: str = "", folder: str = "") -> str:
    """Return the handle of a folder of a repository, given the parts of a URL; HEAD is the branch that needs no name."""
    suffix = "" if ref in ("", "HEAD") else f":{unquote(ref)}"
    return f"github://{repository}{suffix}" + (format_subdirectory(unquote(folder)) if folder else "")
