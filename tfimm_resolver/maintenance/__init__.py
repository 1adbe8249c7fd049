"""Cache maintenance: list, select, verify, sign, keep, prune and remove cached models; and their bill of materials."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.maintenance.inventory import CachedModel, list_models, select
    from tfimm_resolver.maintenance.inventory import list_models as list  # noqa: A004  # as hub.list is called
    from tfimm_resolver.maintenance.pruning import PrunedItem, PruneResult, keep, prune, unkeep
    from tfimm_resolver.maintenance.removal import RemoveResult, remove
    from tfimm_resolver.maintenance.sbom import make_sbom
    from tfimm_resolver.maintenance.signing import SignResult, sign
    from tfimm_resolver.maintenance.verification import VerifyResult, verify
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "CachedModel": "tfimm_resolver.maintenance.inventory",
            "PruneResult": "tfimm_resolver.maintenance.pruning",
            "PrunedItem": "tfimm_resolver.maintenance.pruning",
            "RemoveResult": "tfimm_resolver.maintenance.removal",
            "SignResult": "tfimm_resolver.maintenance.signing",
            "VerifyResult": "tfimm_resolver.maintenance.verification",
            "keep": "tfimm_resolver.maintenance.pruning",
            "list": "tfimm_resolver.maintenance.inventory:list_models",
            "list_models": "tfimm_resolver.maintenance.inventory",
            "make_sbom": "tfimm_resolver.maintenance.sbom",
            "prune": "tfimm_resolver.maintenance.pruning",
            "remove": "tfimm_resolver.maintenance.removal",
            "select": "tfimm_resolver.maintenance.inventory",
            "sign": "tfimm_resolver.maintenance.signing",
            "unkeep": "tfimm_resolver.maintenance.pruning",
            "verify": "tfimm_resolver.maintenance.verification",
        },
    )

__all__ = [
    "CachedModel",
    "PruneResult",
    "PrunedItem",
    "RemoveResult",
    "SignResult",
    "VerifyResult",
    "keep",
    "list",
    "list_models",
    "make_sbom",
    "prune",
    "remove",
    "select",
    "sign",
    "unkeep",
    "verify",
]
