"""Which rule answers to a handle, and how its model gets here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.resolution.resolver import resolve
    from tfimm_resolver.resolution.rules import ResolvedPlan
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "ResolvedPlan": "tfimm_resolver.resolution.rules",
            "resolve": "tfimm_resolver.resolution.resolver",
        },
    )

__all__ = [
    "ResolvedPlan",
    "resolve",
]
