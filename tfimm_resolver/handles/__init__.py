"""Parses the text of a handle into its parts and a canonical key: ``Handle.parse``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.handles.handle import Handle
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "Handle": "tfimm_resolver.handles.handle",
        },
    )

__all__ = [
    "Handle",
]
