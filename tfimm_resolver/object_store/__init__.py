"""One bucket: a client for its objects, and its credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.object_store.client import ObjectStoreClient
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "ObjectStoreClient": "tfimm_resolver.object_store.client",
        },
    )

__all__ = [
    "ObjectStoreClient",
]
