"""The caches that are read, in their order: extra roots, the cache root, the bucket behind it; nothing else opens a root."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.record import ENTRY_DIR_PATTERN
from tfimm_resolver.cache.root_advice import OTHER_ROOT_FIX
from tfimm_resolver.cache.roots import LocalRoot, Root, open_bucket, open_root
from tfimm_resolver.cache.tier import ModelLocation, Tier
from tfimm_resolver.errors import CacheError, FetchError, OfflineError
from tfimm_resolver.errors.advice import Fix
from tfimm_resolver.handles.pin import NO_PIN, Pin

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.manifest import FetchResult
    from tfimm_resolver.settings.ownership import Guard

log = logging.getLogger("tfimm_resolver")


def _list_extra_roots() -> Iterator[Tier]:
    return (Tier(root, is_read_only=True) for root in settings.extra_roots())


def _list_own_roots() -> Iterator[Tier]:
    root, bucket = settings.cache_roots()
    yield Tier(root.value, root.mode)
    if bucket is not None:
        yield Tier(bucket.value, is_behind=True)


TIERS: list[Callable[[], Iterator[Tier]]] = [_list_extra_roots, _list_own_roots]
"""Every kind of tier, in the order in which they are read; each function lists the tiers that are configured."""


def list_tiers() -> list[Tier]:
    """Return the caches that are configured now, in the order in which they are read."""
    return [tier for list_kind in TIERS for tier in list_kind()]


class Lookup:
    """The look-up of one model in the tiers: by its key, with the pin that it has to match."""

    def __init__(self, key: str, pin: Pin = NO_PIN) -> None:
        self._key, self._pin = key, pin.cover_key(key)

    def find(self) -> ModelLocation | None:
        """Return where the complete model is; None if it has to be fetched.

        The first tier that has it wins, but the cache's own copy if it was fetched later, which is usually by a refresh.

        Raises:
            IntegrityError: if the cached model is known not to match the pin, and no other tier has one that does.
            CacheError: if the cache cannot be read; also FetchError.
        """
        found: ModelLocation | None = None
        for tier in list_tiers():
            if tier.is_behind or (found is not None and tier.is_read_only):
                continue
            try:
                other = tier.find(self._key, self._pin)
            except (CacheError, FetchError):
                if found is None:
                    raise
                continue  # an unreadable cache does not hide the extra root, nor does a copy that does not match the pin
            if other is not None and (found is None or _is_later(other, found)):
                found = other
        return found

    def fetch(self, fill: Callable[[Path, Path], FetchResult | None], handle: str, *, refresh: bool = False) -> ModelLocation:
        """Fetch a model that ``find`` did not find, or that is to be refreshed, into the cache; raises as ``Cache.ensure``."""
        root = settings.cache_root(create=True)
        cache = Cache(open_root(root.value, root.mode))
        try:
            record = cache.ensure(handle, self._key, fill, refresh=refresh, pin=self._pin, is_missing=not refresh)
        except OfflineError as error:
            if refresh or not (extra := settings.extra_roots()):
                raise
            raise OfflineError(f"{error.text}\n  also looked in {', '.join(map(show, extra))}", fix=error.advice) from error
        return ModelLocation(cache.path(record), record)


def _is_later(one: ModelLocation, other: ModelLocation) -> bool:
    return bool(one.record and other.record and one.record.fetched_at > other.record.fetched_at)


def open_cache() -> Cache:
    """Return the cache that is written; the paths that ``resolve`` returns are in it."""
    root = settings.cache_root()
    return Cache(open_root(root.value, root.mode))


def open_bucket_behind(into: Path, parts: Path) -> Cache:
    """Return the cache in the bucket behind the local one, which unpacks into directories of a caller that holds a lock."""
    from tfimm_resolver.cache.bucket_root import PreparedStaging  # network code is imported on a miss only

    return Cache(open_bucket(settings.urls_root().value, PreparedStaging(into, parts)))


def open_scratch() -> Root:
    """Return the root on this machine's disk for downloads that are not stored, also if the cache is in a bucket."""
    root = settings.local_root()
    return open_root(root.value, root.mode)


def open_store(
    path: str,
    entry_name: Callable[[str], str],
    *,
    mode: int = 0o777,
    entry_pattern: re.Pattern[str] = ENTRY_DIR_PATTERN,
    guard: Guard | None = None,
    fix: Fix = OTHER_ROOT_FIX,
) -> Cache:
    """Return a cache of another kind in a local directory, such as the hub's repositories, with entry names of its own.

    ``fix`` says how another directory is chosen, if this one cannot be used.
    """
    return Cache(LocalRoot(path, mode, entry_pattern, guard, fix), entry_name)
