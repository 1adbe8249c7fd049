"""Knows which files a complete SavedModel consists of; ``find_defect`` checks a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.saved_model.completeness import find_defect
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "find_defect": "tfimm_resolver.saved_model.completeness",
        },
    )

__all__ = [
    "find_defect",
]
