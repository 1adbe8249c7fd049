"""From a handle to a path: asks overrides, then names, then each source in turn."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

from tfimm_resolver import names, settings
from tfimm_resolver.errors import CacheError, FetchError, HandleError, OfflineError, ResolverError, UnknownHandleError
from tfimm_resolver.handle import Handle
from tfimm_resolver.plan import Ask, Fetch, InPlace, Latest, Plan
from tfimm_resolver.sources import SCHEMES, local, sources_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tfimm_resolver.cache import Cache
    from tfimm_resolver.record import Brought

log = logging.getLogger("tfimm_resolver")


def resolve(handle: str | os.PathLike[str], *, refresh: bool = False, sha256: str | None = None) -> str:
    """The absolute path, or ``gs://`` URL, from which TensorFlow can load a model; brings it into the cache if need be.

    Asked in this order: ``set_model_cache``, the names below ``get_dir()``, local paths, the extra roots, the cache, the
    place itself.

    Args:
        handle: a tfhub-style URL, an archive's URL or path, a ``gs://`` path, a directory, or a model name.
        refresh: fetch anew. Readers of the old copy are not disturbed, and it stays if the fetch fails.
        sha256: what the archive must hash to, 64 hexadecimal digits; also as ``#sha256=...`` at the handle's end.

    Raises:
        HandleError: if the handle cannot be read or nobody knows it.
        FetchError: if the model could not be brought here whole.
        CacheError: if the cache root cannot be used.
    """
    asked = Handle.parse(handle, sha256=sha256)
    asked, plan = _planned(asked)
    if isinstance(plan, InPlace):
        if asked.sha256 is not None:
            raise HandleError(f"{asked} is a directory: only an archive can be pinned by sha256")
        return plan.path
    if isinstance(plan, Latest):
        return _latest(asked, plan, refresh)
    if isinstance(plan, Ask):
        # A pin is a promise about an archive: what lies uncompressed somewhere cannot keep it.
        place = _asked(asked, plan) if asked.sha256 is None else None
        if place is not None:
            return place
        plan = plan.otherwise
    return _brought(asked, plan, refresh)


def _asked(handle: Handle, plan: Ask) -> str | None:
    from tfimm_resolver.transfer import Transfer

    return plan.where(Transfer(handle))


def _planned(handle: Handle) -> tuple[Handle, Plan]:
    """What the first of overrides, names and sources that knows the handle says of it, or of what overrides it."""
    if (place := names.override(handle.key)) is not None:
        target = _overriding(handle, place)
        return target, _source_plan(target) or InPlace(place)
    if handle.is_name and (path := names.find(names.check(handle.text))) is not None:
        return handle, InPlace(path)
    plan = _source_plan(handle)
    if plan is None:
        raise _unknown(handle)
    return handle, plan


def _source_plan(handle: Handle) -> Plan | None:
    plans = (source(handle) for source in sources_for(handle.scheme))
    return next((plan for plan in plans if plan is not None), None)


def _overriding(handle: Handle, place: str) -> Handle:
    if not names.is_there(place):
        raise UnknownHandleError(
            f"set_model_cache() says that {handle} lies at {place}, where nothing is",
            fix="Put the model there, or take the override back with clear_model_cache().",
        )
    return Handle.parse(place, sha256=handle.sha256)


def _latest(handle: Handle, plan: Latest, refresh: bool) -> str:
    """The path of the model that the handle stands for now; of a cached one, if the place cannot say or bring it."""
    from tfimm_resolver.transfer import Transfer

    try:
        fixed = plan.now(Transfer(handle))
        path = resolve(fixed, refresh=refresh, sha256=handle.sha256)
    except FetchError as error:
        kept = None if refresh else _kept(handle, plan)
        if kept is None:
            raise
        with contextlib.suppress(FetchError):  # such as that it is not what is pinned
            path = resolve(kept, sha256=handle.sha256)
            log.warning("%s is served from the cache, as %s: %s", handle, kept, error.text)
            return path
        raise
    for cache in _own_caches() if plan.newest is None else ():
        with contextlib.suppress(ResolverError):  # a root that may only be read
            cache.remember(handle.key, fixed)
    return path


def _kept(handle: Handle, plan: Latest) -> str | None:
    """The handle of a cached model that may stand for the latest."""
    whole: list[str] = []
    for cache in _caches():
        with contextlib.suppress(ResolverError):  # what cannot be read now is as good as not there
            if plan.newest is not None:
                whole += [entry.record.handle for entry in cache.entries() if entry.fault is None]
            elif (fixed := cache.remembered(handle.key)) is not None and _is_cached(fixed):
                return fixed
    return plan.newest(whole) if plan.newest else None


def _is_cached(text: str) -> bool:
    plan = _source_plan(Handle.parse(text))
    return isinstance(plan, Fetch) and any(cache.find(plan.key) for cache in _caches())


def _own_caches() -> Iterator[Cache]:
    """The cache, and the one in a bucket behind it."""
    from tfimm_resolver.cache import Cache
    from tfimm_resolver.roots import open_root

    root = settings.cache_root()
    yield Cache(open_root(root.value, root.mode))
    if settings.is_second_level():
        yield Cache(open_root(settings.urls_root().value))


def _caches() -> Iterator[Cache]:
    """Every cache that ``resolve`` reads from."""
    from tfimm_resolver.cache import Cache
    from tfimm_resolver.roots import open_root

    yield from _own_caches()
    yield from (Cache(open_root(place)) for place in settings.extra_roots())


def _brought(handle: Handle, plan: Fetch, refresh: bool) -> str:
    from tfimm_resolver.cache import Cache  # 3 ms that the import of the package need not cost
    from tfimm_resolver.roots import open_root

    root = settings.cache_root()
    cache = Cache(open_root(root.value, root.mode))
    if not refresh and (lent := _lent(cache, plan.key, handle.sha256)) is not None:
        return lent

    def fill(into: Path, parts: Path) -> Brought:
        from tfimm_resolver.record import Brought
        from tfimm_resolver.transfer import Transfer  # the network is loaded on a miss only

        settings.check()
        if root.source == settings.TEMPORARY and not settings.is_second_level():
            _advise(root.value)
        transfer = Transfer(handle, parts)
        plan.fill(into, transfer)
        return Brought(transfer.origin, transfer.files)

    filled = _through_bucket(handle, plan.key, fill, refresh) if settings.is_second_level() else fill
    label = handle.public if handle.scheme else local.place_of(handle)
    try:
        return cache.path(cache.ensure(label, plan.key, filled, refresh=refresh, sha256=handle.sha256))
    except OfflineError as error:
        if refresh or not (extra := settings.extra_roots()):
            raise
        raise OfflineError(f"{error.text}\n  looked also in {', '.join(extra)}", fix=error.fix) from error


def _through_bucket(
    handle: Handle, key: str, fill: Callable[[Path, Path], Brought], refresh: bool
) -> Callable[[Path, Path], Brought]:
    """What fills the cache on this machine from the one in the bucket, and that one where it has no such model, either."""
    from tfimm_resolver.cache import Cache
    from tfimm_resolver.record import Brought
    from tfimm_resolver.roots import open_bucket
    from tfimm_resolver.roots.bucket import Given
    from tfimm_resolver.transfer import Transfer

    def filled(into: Path, parts: Path) -> Brought:
        bucket = Cache(open_bucket(settings.urls_root().value, Given(into, parts)))
        record = bucket.ensure(handle.public, key, fill, refresh=refresh, sha256=handle.sha256)
        if not os.listdir(into):  # it was there already
            Transfer(handle).objects(bucket.path(record), into, record.files)
        return Brought(record.origin, record.files)

    return filled


def _lent(cache: Cache, key: str, sha256: str | None) -> str | None:
    """The path of a whole model in an extra root, unless the cache has one that was fetched later, by a refresh as a rule."""
    from tfimm_resolver.cache import Cache
    from tfimm_resolver.roots import open_root

    for place in settings.extra_roots():
        try:
            lender = Cache(open_root(place))
            theirs = lender.find(key)
        except CacheError as error:
            log.warning("passed over: %s", error.text)
            continue
        if theirs is None or sha256 not in (None, theirs.origin.sha256):
            continue
        ours = None
        with contextlib.suppress(CacheError, FetchError):  # a cache that cannot be read is not needed for this
            ours = cache.find(key)
        is_later = ours is not None and ours.fetched_at > theirs.fetched_at and sha256 in (None, ours.origin.sha256)
        return None if is_later else lender.path(theirs)
    return None


_advised: set[str] = set()


def _advise(place: str) -> None:
    """Say once that a temporary root does not last."""
    if place not in _advised:
        _advised.add(place)
        log.warning("%s may be emptied by the system; to keep models: export TFHUB_CACHE_DIR=~/.cache/tfhub_modules", place)


def _unknown(handle: Handle) -> UnknownHandleError:
    if handle.scheme:
        return UnknownHandleError(
            f'nobody serves "{handle}"\n  known schemes: {", ".join(SCHEMES)}', fix=_other_scheme(handle)
        )
    looked = [local.place_of(handle)]
    if handle.is_name:
        looked = [*names.places(handle.text), *looked]
    similar = names.similar(handle.text) if handle.is_name else []
    fix = "Give a URL or a path, or say where it is: set_model_cache(name, path)."
    if similar:
        fix = f"Did you mean {' or '.join(similar)}?"
    kind = "name" if handle.is_name else "path"
    return UnknownHandleError(f'no model of the {kind} "{handle}"\n  looked at: {", ".join(looked)}', fix=fix)


def _other_scheme(handle: Handle) -> str:
    import difflib  # 1 ms that only an error costs

    rest = handle.text.partition("://")[2]
    close = difflib.get_close_matches(handle.scheme, [*SCHEMES, "tfhub"], n=1)
    if not close:
        return "Write a URL, a path or a model name."
    return f"Did you mean {'https://tfhub.dev' if close == ['tfhub'] else close[0] + ':/'}/{rest} ?"
