"""Finds the rule that applies to a handle, and fetches the model if it is not cached."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.resolution.request import ResolvedPlan
    from tfimm_resolver.resolution.resolver import resolve
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "ResolvedPlan": "tfimm_resolver.resolution.request",
            "resolve": "tfimm_resolver.resolution.resolver",
        },
    )

__all__ = [
    "ResolvedPlan",
    "resolve",
]
