"""The caches in the order in which they are read: extra roots, the cache root, a bucket. Only this module opens roots."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache import counters
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.record import ENTRY_DIR_PATTERN
from tfimm_resolver.cache.root_advice import OTHER_ROOT_FIX
from tfimm_resolver.cache.roots import LocalRoot, Root, open_bucket, open_root
from tfimm_resolver.cache.tier import ModelLocation, Tier
from tfimm_resolver.errors import CacheError, FetchError, OfflineError
from tfimm_resolver.errors.advice import Fix
from tfimm_resolver.errors.os_errors import find_missing_bytes
from tfimm_resolver.handles.pin import NO_PIN, Pin
from tfimm_resolver.locking.use_lock import is_held

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.cache.record import Record
    from tfimm_resolver.manifest import FetchResult
    from tfimm_resolver.settings.ownership import Guard

log = logging.getLogger("tfimm_resolver")

_FREED_ON_FULL_DISK_BYTES = 1 << 30
"""How much is freed on a full disk if it is not known how much is missing."""

_ATTEMPTS_MAX = 5
"""How often a model that was removed just before it could be used is looked for again."""


def _list_extra_roots() -> list[Tier]:
    return [Tier(root, is_read_only=True) for root in settings.extra_roots()]


def _list_own_roots() -> list[Tier]:
    root, bucket = settings.cache_roots()
    own = Tier(root.value, root.mode)
    return [own] if bucket is None else [own, Tier(bucket.value, is_copied=True)]


TIERS: list[Callable[[], list[Tier]]] = [_list_extra_roots, _list_own_roots]
"""Every kind of tier, in the order in which they are read; each function lists the tiers that are configured."""


def list_tiers() -> list[Tier]:
    """Return the caches that are configured now, in the order in which they are read."""
    found: list[Tier] = []
    for list_kind in TIERS:
        found += list_kind()
    return found


class Lookup:
    """The look-up of one model in the tiers: by its key, with the pin that it has to match."""

    def __init__(self, key: str, pin: Pin = NO_PIN) -> None:
        self._key, self._pin = key, pin.cover_key(key)

    def find(self) -> ModelLocation | None:
        """Return where the complete model is; None if it has to be fetched.

        The first tier that has it wins, but the cache's own copy if it was fetched later, which is usually by a refresh.
        No process removes it from now on until this one has ended.

        Raises:
            IntegrityError: if the cached model is known not to match the pin, and no other tier has one that does.
            CacheError: if the cache cannot be read; also FetchError.
        """
        for _ in range(_ATTEMPTS_MAX):
            found = self._find_once()
            if found is None or is_held(found.path) or found.hold():  # the first call saves most hits the second
                return found
        return None

    def _find_once(self) -> ModelLocation | None:
        found: ModelLocation | None = None
        for tier in list_tiers():
            if tier.is_copied or (found is not None and tier.is_read_only):
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
        settings.cache_limits()  # a wrong one is an error before the download
        cache, root = open_cache(create=True), settings.cache_root().value
        try:
            for _ in range(_ATTEMPTS_MAX):
                record = ensure(cache, handle, self._key, fill, refresh=refresh, pin=self._pin, is_missing=not refresh)
                location = ModelLocation(cache.path(record), record)
                location.is_fetched = True
                if location.hold(is_new=True):
                    origin = location.record.origin if location.record else None
                    counters.add(root, misses=1, fetched_bytes=(origin and origin.size_bytes) or 0)
                    make_room(0)
                    return location
        except OfflineError as error:
            if refresh or not (extra := settings.extra_roots()):
                raise
            raise OfflineError(f"{error.text}\n  also looked in {', '.join(map(show, extra))}", fix=error.advice) from error
        raise CacheError(
            f"another process keeps removing {handle} from {show(root)} right after it was fetched",
            fix="Look for a job that empties this directory, and try again; or raise the limits of the cache.",
        )


def ensure(
    cache: Cache,
    handle: str,
    key: str,
    fill: Callable[[Path, Path], FetchResult | None],
    *,
    refresh: bool = False,
    pin: Pin = NO_PIN,
    is_missing: bool = False,
) -> Record:
    """Fetch a model as ``Cache.ensure`` does; on a full disk a second time, if models may be evicted and some were."""
    try:
        return cache.ensure(handle, key, fill, refresh=refresh, pin=pin, is_missing=is_missing)
    except CacheError as error:
        missing_bytes = find_missing_bytes(error)
        if missing_bytes is None or not _evict_for(cache, missing_bytes):
            raise
        log.warning("%s; trying again after evicting models", error.text)
        return cache.ensure(handle, key, fill, refresh=refresh, pin=pin)


def make_room(size_bytes: int, cache: Cache | None = None) -> None:
    """Evict models so that the limits hold after so many bytes were added to a cache; without a limit, do nothing."""
    if settings.cache_limits().is_limited:
        from tfimm_resolver.cache import eviction

        eviction.enforce_limits(cache or open_cache(), needed_bytes=size_bytes)


def _evict_for(cache: Cache, missing_bytes: int) -> bool:
    """Evict models on a full disk, more than is missing, as a model needs more room while it is unpacked; whether any was."""
    from tfimm_resolver.cache import eviction

    return eviction.enforce_limits(cache, freed_bytes_min=max(2 * missing_bytes, _FREED_ON_FULL_DISK_BYTES)) > 0


def _is_later(one: ModelLocation, other: ModelLocation) -> bool:
    return bool(one.record and other.record and one.record.fetched_at > other.record.fetched_at)


def open_cache(*, create: bool = False) -> Cache:
    """Return the cache that is written, whose paths ``resolve`` returns; ``create`` creates its temporary default."""
    root = settings.cache_root(create=create)
    return Cache(open_root(root.value, root.mode))


def open_bucket_cache(into: Path, parts: Path) -> Cache:
    """Return the cache in the bucket; it unpacks into directories of a caller that holds a lock."""
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
