"""Where models come from: one file a kind of place, with the schemes it serves and one function, ``plan``.

The first that answers wins, so the particular stands before the general.
"""

from __future__ import annotations

from typing import Protocol

from tfimm_resolver.handle import Handle
from tfimm_resolver.plan import Plan, Source
from tfimm_resolver.sources import bucket, github, local, tfhub, web


class Place(Protocol):
    """What each file of this folder is."""

    @property
    def SCHEMES(self) -> tuple[str, ...]: ...  # noqa: N802

    def plan(self, handle: Handle, /) -> Plan | None: ...


__all__ = ["SCHEMES", "sources_for"]

_PLACES: tuple[Place, ...] = (local, bucket, github, web, tfhub)
_BY_SCHEME: dict[str, list[Source]] = {}
for _place in _PLACES:
    for _scheme in _place.SCHEMES:
        _BY_SCHEME.setdefault(_scheme, []).append(_place.plan)

SCHEMES = tuple(filter(None, _BY_SCHEME))


def sources_for(scheme: str) -> list[Source]:
    """The sources that serve a scheme, in the order in which they are asked."""
    return _BY_SCHEME.get(scheme, [])
