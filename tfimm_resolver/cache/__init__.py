"""The cache protocol: ``Cache.ensure``; the record, written last, is the commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.cache.cache import Cache
    from tfimm_resolver.cache.record import Record
    from tfimm_resolver.cache.roots import open_root
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "Cache": "tfimm_resolver.cache.cache",
            "Record": "tfimm_resolver.cache.record",
            "open_root": "tfimm_resolver.cache.roots",
        },
    )

__all__ = [
    "Cache",
    "Record",
    "open_root",
]
