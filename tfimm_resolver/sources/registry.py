"""The built-in sources, by scheme: one module per kind of source, with the schemes it handles and one function, ``plan``.

The first source that returns a plan wins, so specific sources come before general ones.
"""

from __future__ import annotations

from typing import Protocol

from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources import bucket, github, hugging_face, kaggle, local, tensorflow_files, tfhub, web, web_pages
from tfimm_resolver.sources.plan import Plan, Source


class SourceModule(Protocol):
    """The interface of a module that is a source."""

    @property
    def SCHEMES(self) -> tuple[str, ...]: ...  # noqa: N802

    def plan(self, handle: Handle, /) -> Plan | None: ...


__all__ = ["SCHEMES", "describe_source", "get_sources", "list_schemes"]

_BUILTIN_SOURCES: tuple[SourceModule, ...] = (local, bucket, github, kaggle, hugging_face, web_pages, web, tfhub)
_BY_SCHEME: dict[str, list[Source]] = {}
for _module in _BUILTIN_SOURCES:
    for _scheme in _module.SCHEMES:
        _BY_SCHEME.setdefault(_scheme, []).append(_module.plan)

SCHEMES = tuple(filter(None, _BY_SCHEME))


def get_sources(scheme: str) -> list[Source]:
    """Return the sources for a scheme, in the order in which they are tried; a plug-in's only if no built-in one handles it.

    A scheme that only TensorFlow reads comes last.

    Raises:
        SourceError: if the plug-in cannot be loaded.
    """
    if scheme in _BY_SCHEME:
        return _BY_SCHEME[scheme]
    from tfimm_resolver.sources import plugins  # 1 ms that built-in schemes do not pay

    plugin = plugins.load_source(scheme, SCHEMES)
    return tensorflow_files.get_sources(scheme) if plugin is None else [plugin]


def describe_source(scheme: str) -> str | None:
    """Return which source, built in or of a plug-in, handles a scheme, for a message; None if none does."""
    if scheme in _BY_SCHEME:
        return f"the built-in source of {scheme}://"
    from tfimm_resolver.sources import plugins

    return plugins.describe_source(scheme, SCHEMES)


def list_schemes() -> list[str]:
    """Return every scheme that a built-in source or a plug-in handles; searches all installed packages."""
    from tfimm_resolver.sources import plugins

    return [*SCHEMES, *plugins.list_schemes(SCHEMES)]
