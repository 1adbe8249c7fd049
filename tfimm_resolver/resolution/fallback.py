"""Which cached model may stand for a handle whose model changes, when the place cannot be asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver.errors import HandleError, ResolverError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.resolution import overrides, rules
from tfimm_resolver.resolution.rules import ResolvedPlan
from tfimm_resolver.sources.plan import Fetch, MutableRef

if TYPE_CHECKING:
    from tfimm_resolver.cache.cache import Cache


def find_cached_fallback(answer: ResolvedPlan, plan: MutableRef) -> str | None:
    """The handle of a whole model here, cached or set by ``set_model_cache``, that may stand for the latest; None for none.

    One that keeps the pin goes before newer ones; if none does, the newest is given, with which the pin may be compared.
    """
    handle, keeping = answer.handle, list[str]()
    whole = [] if answer.is_upstream else [name for name in overrides.list_cached_models() if "://" in name]
    for cache in _caches():
        with contextlib.suppress(ResolverError):  # what cannot be read now is as good as not there
            if plan.newest is not None:
                records = [entry.record for entry in cache.entries() if entry.fault is None]
                whole += [record.handle for record in records]
                keeping += [_key(record.handle) for record in records if record.origin.sha256 == handle.sha256]
            elif (fixed := cache.remembered(handle.key)) is not None and _is_cached(fixed):
                return fixed
    if plan.newest is None:
        return None
    found = plan.newest(keeping) if handle.sha256 else None
    if found is None or found in keeping:
        return found or plan.newest(whole)
    # A place that others fill has a newer one, which nobody can compare; a version's key begins with its handle's.
    return next((key for key in keeping if key.startswith(f"{handle.key}/")), found)


def store_alias(handle: Handle, plan: MutableRef, fixed: str) -> None:
    """Keep what the place said now, where handles themselves cannot tell which is the latest."""
    if plan.newest is None:
        for cache in _own_caches():
            with contextlib.suppress(ResolverError):  # a root that may only be read
                cache.remember(handle.key, fixed)


def _key(text: str) -> str:
    """What a record's handle has in common with other spellings of it; the text itself, if it is none."""
    try:
        return Handle.parse(text).key
    except HandleError:
        return text


def _is_cached(text: str) -> bool:
    plan = rules.source_plan(Handle.parse(text))
    if not isinstance(plan, Fetch):
        return False
    for cache in _caches():
        with contextlib.suppress(ResolverError):  # another one may have it
            if cache.find(plan.key):
                return True
    return False


def _own_caches() -> Iterator[Cache]:
    """The cache, and the one in a bucket behind it."""
    from tfimm_resolver.cache.cache import Cache
    from tfimm_resolver.cache.roots import open_root

    root = settings.cache_root()
    yield Cache(open_root(root.value, root.mode))
    if settings.uses_local_copy():
        yield Cache(open_root(settings.urls_root().value))


def _caches() -> Iterator[Cache]:
    """Every cache that ``resolve`` reads from."""
    from tfimm_resolver.cache.cache import Cache
    from tfimm_resolver.cache.roots import open_root

    yield from _own_caches()
    yield from (Cache(open_root(place)) for place in settings.extra_roots())
