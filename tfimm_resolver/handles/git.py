"""What git gives names to: commits, and the branches and tags that stand for one."""

from __future__ import annotations

import re

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A whole one."""
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|^[-/.]|[/.]$|//")


def is_ref(text: str) -> bool:
    """Whether a branch or a tag may be called so, and can be shown (https://git-scm.com/docs/git-check-ref-format)."""
    return bool(text) and not _NO_REF.search(text) and text.isprintable()
