"""Cache maintenance: list, select, verify and remove cached models."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.maintenance.inventory import CachedModel, list_models, select
    from tfimm_resolver.maintenance.inventory import list_models as list  # noqa: A004  # as hub.list is called
    from tfimm_resolver.maintenance.removal import RemoveResult, remove
    from tfimm_resolver.maintenance.verification import VerifyResult, verify
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "CachedModel": "tfimm_resolver.maintenance.inventory",
            "RemoveResult": "tfimm_resolver.maintenance.removal",
            "VerifyResult": "tfimm_resolver.maintenance.verification",
            "list": "tfimm_resolver.maintenance.inventory:list_models",
            "list_models": "tfimm_resolver.maintenance.inventory",
            "remove": "tfimm_resolver.maintenance.removal",
            "select": "tfimm_resolver.maintenance.inventory",
            "verify": "tfimm_resolver.maintenance.verification",
        },
    )

__all__ = [
    "CachedModel",
    "RemoveResult",
    "VerifyResult",
    "list",
    "list_models",
    "remove",
    "select",
    "verify",
]
