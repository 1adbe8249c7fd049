"""Cache maintenance: list, measure, verify, sign, adopt, keep, prune and remove cached models; their bill of materials."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.maintenance.adoption import AdoptResult, adopt
    from tfimm_resolver.maintenance.cache_item import CacheItem
    from tfimm_resolver.maintenance.cached_model import CachedModel
    from tfimm_resolver.maintenance.inventory import list_models, select
    from tfimm_resolver.maintenance.inventory import list_models as list  # noqa: A004  # as hub.list is called
    from tfimm_resolver.maintenance.pruning import PruneResult, keep, prune, unkeep
    from tfimm_resolver.maintenance.removal import RemoveResult, remove
    from tfimm_resolver.maintenance.sbom import make_sbom
    from tfimm_resolver.maintenance.signing import SignResult, sign
    from tfimm_resolver.maintenance.usage import CacheUsage, measure
    from tfimm_resolver.maintenance.verification import VerifyResult, VerifyResults, verify
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "AdoptResult": "tfimm_resolver.maintenance.adoption",
            "CacheItem": "tfimm_resolver.maintenance.cache_item",
            "CacheUsage": "tfimm_resolver.maintenance.usage",
            "CachedModel": "tfimm_resolver.maintenance.cached_model",
            "PruneResult": "tfimm_resolver.maintenance.pruning",
            "RemoveResult": "tfimm_resolver.maintenance.removal",
            "SignResult": "tfimm_resolver.maintenance.signing",
            "VerifyResult": "tfimm_resolver.maintenance.verification",
            "VerifyResults": "tfimm_resolver.maintenance.verification",
            "adopt": "tfimm_resolver.maintenance.adoption",
            "keep": "tfimm_resolver.maintenance.pruning",
            "list": "tfimm_resolver.maintenance.inventory:list_models",
            "list_models": "tfimm_resolver.maintenance.inventory",
            "make_sbom": "tfimm_resolver.maintenance.sbom",
            "measure": "tfimm_resolver.maintenance.usage",
            "prune": "tfimm_resolver.maintenance.pruning",
            "remove": "tfimm_resolver.maintenance.removal",
            "select": "tfimm_resolver.maintenance.inventory",
            "sign": "tfimm_resolver.maintenance.signing",
            "unkeep": "tfimm_resolver.maintenance.pruning",
            "verify": "tfimm_resolver.maintenance.verification",
        },
    )

__all__ = [
    "AdoptResult",
    "CacheItem",
    "CacheUsage",
    "CachedModel",
    "PruneResult",
    "RemoveResult",
    "SignResult",
    "VerifyResult",
    "VerifyResults",
    "adopt",
    "keep",
    "list",
    "list_models",
    "make_sbom",
    "measure",
    "prune",
    "remove",
    "select",
    "sign",
    "unkeep",
    "verify",
]
