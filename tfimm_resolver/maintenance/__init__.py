"""Cache maintenance: list, select and remove cached models."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.maintenance.inventory import CachedModel, list_models, remove, select
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "CachedModel": "tfimm_resolver.maintenance.inventory",
            "list_models": "tfimm_resolver.maintenance.inventory",
            "remove": "tfimm_resolver.maintenance.inventory",
            "select": "tfimm_resolver.maintenance.inventory",
        },
    )

__all__ = [
    "CachedModel",
    "list_models",
    "remove",
    "select",
]
