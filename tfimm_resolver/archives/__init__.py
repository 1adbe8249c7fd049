"""Unpacks untrusted archives: ``unpack`` reads them, ``MemberNamePolicy`` validates names, ``Extractor`` writes files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.archives.budget import Limits
    from tfimm_resolver.archives.extractor import Extractor
    from tfimm_resolver.archives.member_policy import MemberNamePolicy
    from tfimm_resolver.archives.unpacking import unpack
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "Extractor": "tfimm_resolver.archives.extractor",
            "Limits": "tfimm_resolver.archives.budget",
            "MemberNamePolicy": "tfimm_resolver.archives.member_policy",
            "unpack": "tfimm_resolver.archives.unpacking",
        },
    )

__all__ = [
    "Extractor",
    "Limits",
    "MemberNamePolicy",
    "unpack",
]
