"""File systems that only TensorFlow reads, such as ``ram://`` and ``hdfs://``: their models are used in place.

They are tried last, so that a built-in source or a plug-in for the same scheme wins. ``resolve`` knows the usual schemes
without importing TensorFlow; those that a library has added to it are known once ``load`` has asked it for them.
"""

from __future__ import annotations

from collections.abc import Iterable

from tfimm_resolver._util.urls import TENSORFLOW_SCHEMES
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources.plan import InPlace, Source

_added: set[str] = set()


def plan(handle: Handle) -> InPlace:
    """Return the plan to use a model where it is; nothing is read."""
    return InPlace(handle.scheme + handle.text[len(handle.scheme) :])  # TensorFlow does not accept RAM://


def add_schemes(schemes: Iterable[str]) -> None:
    """Add the schemes of all file systems that TensorFlow has registered in this process."""
    _added.update(filter(None, schemes))


def get_sources(scheme: str) -> list[Source]:
    """Return the source for a scheme that TensorFlow reads; none for another scheme."""
    return [plan] if scheme in TENSORFLOW_SCHEMES or scheme in _added else []


def list_schemes() -> list[str]:
    """Return the schemes that this source handles."""
    return sorted({*TENSORFLOW_SCHEMES, *_added})
