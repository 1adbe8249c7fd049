"""Finds, parses and edits a project's ``tfimm-models.toml``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.models_file.schema import ModelEntry
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "ModelEntry": "tfimm_resolver.models_file.schema",
        },
    )

__all__ = [
    "ModelEntry",
]
