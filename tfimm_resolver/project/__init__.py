"""The models of a project, by the names in its models file: adds them, pins them, fetches them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.models_file.schema import ModelEntry
    from tfimm_resolver.project.add_model import AddResult, add
    from tfimm_resolver.project.lock_models import LockResult, lock
    from tfimm_resolver.project.sync_models import SyncResult, sync
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "AddResult": "tfimm_resolver.project.add_model",
            "LockResult": "tfimm_resolver.project.lock_models",
            "ModelEntry": "tfimm_resolver.models_file.schema",
            "SyncResult": "tfimm_resolver.project.sync_models",
            "add": "tfimm_resolver.project.add_model",
            "lock": "tfimm_resolver.project.lock_models",
            "sync": "tfimm_resolver.project.sync_models",
        },
    )

__all__ = [
    "AddResult",
    "LockResult",
    "ModelEntry",
    "SyncResult",
    "add",
    "lock",
    "sync",
]
