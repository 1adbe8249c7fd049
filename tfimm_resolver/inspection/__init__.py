"""Looks inside a SavedModel without TensorFlow: signatures, weights, files, what it needs, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.inspection.reading import inspect
    from tfimm_resolver.inspection.report import Inspection
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "Inspection": "tfimm_resolver.inspection.report",
            "inspect": "tfimm_resolver.inspection.reading",
        },
    )

__all__ = [
    "Inspection",
    "inspect",
]
