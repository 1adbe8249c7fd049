"""Cached fallbacks for mutable handles while upstream is unreachable (stale-if-error)."""

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


def find_cached_fallback(resolved: ResolvedPlan, plan: MutableRef) -> str | None:
    """Return the handle of a complete model, cached or set by ``set_model_cache``, to use instead of the latest, or None.

    A model that matches the pin is preferred to newer ones; if none matches, the newest is returned, and the caller
    compares it with the pin.
    """
    handle, matching = resolved.handle, list[str]()
    complete = [] if resolved.ignores_overrides else [name for name in overrides.list_cached_models() if "://" in name]
    for cache in _open_caches():
        with contextlib.suppress(ResolverError):  # a cache that cannot be read counts as empty
            if plan.newest is not None:
                records = [entry.record for entry in cache.entries() if entry.defect is None]
                complete += [record.handle for record in records]
                matching += [_get_key(record.handle) for record in records if record.origin.sha256 == handle.sha256]
            elif (fixed := cache.get_alias(handle.key)) is not None and _is_cached(fixed):
                return fixed
    if plan.newest is None:
        return None
    found = plan.newest(matching) if handle.sha256 else None
    if found is None or found in matching:
        return found or plan.newest(complete)
    # The newest is in a cache of another tool, which records no sha256 to compare. A version's key begins with the handle's.
    return next((key for key in matching if key.startswith(f"{handle.key}/")), found)


def store_alias(handle: Handle, plan: MutableRef, fixed: str) -> None:
    """Remember what a mutable handle refers to now, for sources whose handles do not tell which one is the newest."""
    if plan.newest is None:
        for cache in _open_own_caches():
            with contextlib.suppress(ResolverError):  # a read-only root
                cache.set_alias(handle.key, fixed)


def _get_key(text: str) -> str:
    """Return the key that all spellings of a recorded handle share; the text itself if it is not a valid handle."""
    try:
        return Handle.parse(text).key
    except HandleError:
        return text


def _is_cached(text: str) -> bool:
    plan = rules.find_source_plan(Handle.parse(text))
    if not isinstance(plan, Fetch):
        return False
    for cache in _open_caches():
        with contextlib.suppress(ResolverError):  # another cache may have it
            if cache.find(plan.key):
                return True
    return False


def _open_own_caches() -> Iterator[Cache]:
    """Yield the cache and, in local copy mode, the cache in the bucket."""
    from tfimm_resolver.cache.cache import Cache
    from tfimm_resolver.cache.roots import open_root

    root = settings.cache_root()
    yield Cache(open_root(root.value, root.mode))
    if settings.uses_local_copy():
        yield Cache(open_root(settings.urls_root().value))


def _open_caches() -> Iterator[Cache]:
    """Yield every cache that ``resolve`` reads."""
    from tfimm_resolver.cache.cache import Cache
    from tfimm_resolver.cache.roots import open_root

    yield from _open_own_caches()
    yield from (Cache(open_root(root)) for root in settings.extra_roots())
