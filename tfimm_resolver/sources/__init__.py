"""Turns a handle into a plan: one module per kind of source. The public names are what a source in another package needs.

Such a source is a function, ``plan(handle)``, that returns a plan or None. The package names it in the group of entry points
``tfimm_resolver.sources``, under the scheme of its handles, in its ``pyproject.toml``::

    [project.entry-points."tfimm_resolver.sources"]
    zoo = "zoo_models:plan"

After it is installed, ``resolve("zoo://lion")`` calls ``zoo_models.plan``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver.handles.handle import Handle
    from tfimm_resolver.sources.plan import Fetch, Fetcher, InPlace, MutableRef, Plan, RemoteLocation, Source
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "Fetch": "tfimm_resolver.sources.plan",
            "Fetcher": "tfimm_resolver.sources.plan",
            "Handle": "tfimm_resolver.handles.handle",
            "InPlace": "tfimm_resolver.sources.plan",
            "MutableRef": "tfimm_resolver.sources.plan",
            "Plan": "tfimm_resolver.sources.plan",
            "RemoteLocation": "tfimm_resolver.sources.plan",
            "Source": "tfimm_resolver.sources.plan",
        },
    )

__all__ = [
    "Fetch",
    "Fetcher",
    "Handle",
    "InPlace",
    "MutableRef",
    "Plan",
    "RemoteLocation",
    "Source",
]
