"""Makes other frameworks resolve their handles with this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # For freezers, which take along what an import statement names; both need an extra, so that they are not public here.
    from tfimm_resolver.integrations import beam, ray  # noqa: F401
    from tfimm_resolver.integrations.tensorflow_hub import register, unregister
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "register": "tfimm_resolver.integrations.tensorflow_hub",
            "unregister": "tfimm_resolver.integrations.tensorflow_hub",
        },
    )

__all__ = [
    "register",
    "unregister",
]
