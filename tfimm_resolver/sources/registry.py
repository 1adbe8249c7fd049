"""Where models come from: one file a kind of place, with the schemes it serves and one function, ``plan``.

The first that answers wins, so the particular stands before the general.
"""

from __future__ import annotations

from typing import Protocol

from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources import bucket, github, hugging_face, kaggle, local, tfhub, web
from tfimm_resolver.sources.plan import Plan, Source


class SourceModule(Protocol):
    """What each file of this folder is."""

    @property
    def SCHEMES(self) -> tuple[str, ...]: ...  # noqa: N802

    def plan(self, handle: Handle, /) -> Plan | None: ...


__all__ = ["SCHEMES", "known_schemes", "sources_for"]

_BUILTIN_SOURCES: tuple[SourceModule, ...] = (local, bucket, github, kaggle, hugging_face, web, tfhub)
_BY_SCHEME: dict[str, list[Source]] = {}
for _place in _BUILTIN_SOURCES:
    for _scheme in _place.SCHEMES:
        _BY_SCHEME.setdefault(_scheme, []).append(_place.plan)

SCHEMES = tuple(filter(None, _BY_SCHEME))


def sources_for(scheme: str) -> list[Source]:
    """The sources that serve a scheme, in the order in which they are asked; other packages' only where none of ours does.

    Raises:
        SourceError: if another package's cannot be loaded.
    """
    if scheme in _BY_SCHEME:
        return _BY_SCHEME[scheme]
    from tfimm_resolver.sources import plugins  # 1 ms that only a scheme which is not ours costs

    theirs = plugins.source(scheme, SCHEMES)
    return [] if theirs is None else [theirs]


def known_schemes() -> list[str]:
    """Every scheme that is served, by other packages, too; looks at all that is installed."""
    from tfimm_resolver.sources import plugins

    return [*SCHEMES, *plugins.schemes(SCHEMES)]
