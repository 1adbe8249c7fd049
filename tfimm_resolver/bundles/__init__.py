"""Bundles: several cached models in one verified file, to be carried to machines without network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.bundles.reader import ImportedModel, import_, read
    from tfimm_resolver.bundles.writer import ExportResult, export, write
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "ExportResult": "tfimm_resolver.bundles.writer",
            "ImportedModel": "tfimm_resolver.bundles.reader",
            "export": "tfimm_resolver.bundles.writer",
            "import_": "tfimm_resolver.bundles.reader",
            "read": "tfimm_resolver.bundles.reader",
            "write": "tfimm_resolver.bundles.writer",
        },
    )

__all__ = [
    "ExportResult",
    "ImportedModel",
    "export",
    "import_",
    "read",
    "write",
]
