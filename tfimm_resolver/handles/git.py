"""The syntax of git's names: commit hashes, and refs, which are branches and tags."""

from __future__ import annotations

import re

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A full commit hash, SHA-1 or SHA-256."""

_INVALID_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|^[-/.]|[/.]$|//")


def is_ref(text: str) -> bool:
    """Whether a branch or a tag may have this name (https://git-scm.com/docs/git-check-ref-format), and it is printable."""
    return bool(text) and not _INVALID_REF.search(text) and text.isprintable()
