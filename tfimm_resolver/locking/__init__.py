"""Locks between processes on a file system: ``acquire`` and ``try_acquire``, with detection of dead owners."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.locking.lock import acquire, try_acquire
    from tfimm_resolver.locking.owner import LockOwner
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "LockOwner": "tfimm_resolver.locking.owner",
            "acquire": "tfimm_resolver.locking.lock",
            "try_acquire": "tfimm_resolver.locking.lock",
        },
    )

__all__ = [
    "LockOwner",
    "acquire",
    "try_acquire",
]
