"""From a handle to a path: what the rule that answers says is brought, unless it is here."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver.errors import CacheError, FetchError, HandleError, IntegrityError, NotFoundError, OfflineError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.resolution import fallback, overrides, rules
from tfimm_resolver.resolution.rules import ResolvedPlan
from tfimm_resolver.sources import local
from tfimm_resolver.sources.plan import Fetch, InPlace, MutableRef, RemoteLocation

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.cache.cache import Cache
    from tfimm_resolver.cache.record import Record
    from tfimm_resolver.manifest import FetchResult
    from tfimm_resolver.models_file.schema import ModelEntry

log = logging.getLogger("tfimm_resolver")


class Resolved:
    """Where a model lies; ``record`` is what is known of it, None where it lies in a place that is not the cache's."""

    __slots__ = ("path", "record")  # by hand: a dataclass takes half a millisecond to be made

    def __init__(self, path: str, record: Record | None = None) -> None:
        self.path, self.record = path, record


def resolve(handle: str | os.PathLike[str], *, refresh: bool = False, sha256: str | None = None) -> str:
    """Return the absolute path, or ``gs://`` URL, from which TensorFlow can load a model; fetch it first if it is not cached.

    Looks, in this order, at ``set_model_cache``, the project's models file, names below ``get_dir()``, local paths, the
    extra roots, the cache, and at last asks upstream.

    Args:
        handle: a tfhub-style URL, the URL or path of an archive, a ``gs://`` path, a directory, or a model name.
        refresh: fetch the model again. Readers of the old copy are not disturbed, and it stays if the fetch fails.
        sha256: the required hash of the archive, 64 hexadecimal digits; also as ``#sha256=...`` at the end of the handle.

    Raises:
        HandleError: if the handle or the models file cannot be parsed, or no source knows the handle.
        FetchError: if the model could not be fetched completely, or does not match its pin.
        CacheError: if the cache root cannot be used.

    Example:
        >>> tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        '/.../...'
    """
    return fetch(rules.match_rule(Handle.parse(handle, sha256=sha256)), refresh=refresh).path


def cached_model_path(model_name: str) -> str | None:
    """Where the model of that name lies, in the order of ``resolve``; None if it is not here.

    None with a warning in the log, too, if ``set_model_cache`` named a place where nothing is, or if what is cached is not
    what the models file pins.
    """
    if overrides.override(overrides.key(model_name)) is None and "://" not in model_name:
        try:
            answer = rules.by_models_file(Handle.parse(model_name))
            if answer is not None:
                found = find_cached(answer)
                return found.path if found else None
        except (IntegrityError, rules.OverrideTargetMissingError) as error:
            log.warning("%s", error.text)
            return None
    return overrides.cached_path(model_name)


def fetch(answer: ResolvedPlan, *, refresh: bool = False) -> Resolved:
    """Bring what a rule answered into the cache, unless it is there; raises as ``resolve`` does."""
    asked, plan = answer.handle, answer.plan
    if isinstance(plan, InPlace):
        return _in_place(answer, plan)
    if isinstance(plan, MutableRef):
        return _fetch_mutable(answer, plan, refresh)
    if isinstance(plan, RemoteLocation):
        # A pin is a promise about an archive: what lies uncompressed somewhere cannot keep it.
        place = _locate_remote(asked, plan) if asked.sha256 is None else None
        if place is not None:
            return Resolved(place)
        plan = plan.otherwise
    try:
        return _check_size(answer, _ensure_cached(answer, plan, refresh))
    except IntegrityError as error:
        if answer.model is None:
            raise
        raise _add_pin_location(answer.model, error) from error


def find_cached(answer: ResolvedPlan) -> Resolved | None:
    """Where what a rule answered lies already; None if it would have to be fetched. Asks no place on the network.

    Raises:
        IntegrityError: if another model than the pinned one lies there.
    """
    if isinstance(answer.plan, InPlace):
        return _in_place(answer, answer.plan)
    if isinstance(answer.plan, MutableRef):
        kept = fallback.find_cached_fallback(answer, answer.plan)
        found = find_cached(rules.follow_ref(answer, kept)) if kept is not None else None
        for place in () if found else answer.mirrors:
            with contextlib.suppress(NotFoundError):  # a mirror that is none
                found = found or find_cached(_at_mirror(answer, place))
        return found
    plan = answer.plan.otherwise if isinstance(answer.plan, RemoteLocation) else answer.plan
    cache, sha256 = _cache(settings.cache_root()), answer.handle.sha256
    try:
        found = _find_in_extra_roots(cache, plan.key, sha256)
        if found is None and (record := cache.find(plan.key, sha256)) is not None:
            found = Resolved(cache.path(record), record)
        return found and _check_size(answer, found)
    except IntegrityError as error:
        if answer.model is None:
            raise
        raise _add_pin_location(answer.model, error) from error


def _in_place(answer: ResolvedPlan, plan: InPlace) -> Resolved:
    if answer.handle.sha256 is not None:
        raise HandleError(f"{answer.handle} is a directory: only an archive can be pinned by sha256")
    return Resolved(plan.path)


def _check_size(answer: ResolvedPlan, found: Resolved) -> Resolved:
    """What was found, if its archive has the size that the models file tells."""
    told = answer.model.size_bytes if answer.model else None
    came = found.record.origin.size_bytes if found.record else None
    if told is not None and came not in (None, told):
        raise IntegrityError(f"the archive of {answer.handle} has another size:\n  here   {came} bytes\n  pinned {told} bytes")
    return found


def _add_pin_location(model: ModelEntry, error: IntegrityError) -> IntegrityError:
    """The error with the place of the pin."""
    return error.retold(f"{error.text}\n  {model.name} is pinned in {model.place}")


def _fetch_mutable(answer: ResolvedPlan, plan: MutableRef, refresh: bool) -> Resolved:
    """The model that the handle stands for now; a cached one, if the place cannot say which that is, or bring it."""
    from tfimm_resolver.transfer.downloader import Downloader

    handle = answer.handle
    try:
        fixed = plan.now(Downloader(handle))
        found = fetch(rules.follow_ref(answer, fixed), refresh=refresh)
    except FetchError as error:
        kept = None if refresh else fallback.find_cached_fallback(answer, plan)
        if kept is not None:
            with contextlib.suppress(FetchError):  # such as that it is not what is pinned
                found = fetch(rules.follow_ref(answer, kept))
                log.warning("%s is served from the cache, as %s: %s", handle, kept, error.text)
                return found
        if isinstance(error, IntegrityError) or not answer.mirrors:
            raise
        return _fetch_from_mirror(answer, error, refresh)
    fallback.store_alias(handle, plan, fixed)
    return found


def _fetch_from_mirror(answer: ResolvedPlan, error: FetchError, refresh: bool) -> Resolved:
    """The model as the first mirror has it that can give it, each under its own key; the place has failed with the error."""
    failures = [error]
    for place in answer.mirrors:
        log.warning("%s; trying the mirror %s", failures[-1].text, place)
        try:
            return fetch(_at_mirror(answer, place), refresh=refresh)
        except IntegrityError:
            raise
        except FetchError as failure:
            failures.append(failure)
    raise _all_mirrors_failed(failures) from error


def _at_mirror(answer: ResolvedPlan, place: Handle) -> ResolvedPlan:
    return replace(answer, handle=place, plan=rules.mirror_plan(place))


def _all_mirrors_failed(failures: list[FetchError]) -> FetchError:
    """The first error, with those of the mirrors."""
    told = "\n  ".join(["no mirror helped:", *(error.text for error in failures[1:])])
    return failures[0].retold(f"{failures[0].text}\n  {told}")


def _locate_remote(handle: Handle, plan: RemoteLocation) -> str | None:
    from tfimm_resolver.transfer.downloader import Downloader

    return plan.where(Downloader(handle))


def _cache(root: settings.Setting) -> Cache:
    from tfimm_resolver.cache.cache import Cache  # 3 ms that the import of the package need not cost
    from tfimm_resolver.cache.roots import open_root

    return Cache(open_root(root.value, root.mode))


def _ensure_cached(answer: ResolvedPlan, plan: Fetch, refresh: bool) -> Resolved:
    handle, root = answer.handle, settings.cache_root(create=True)
    cache = _cache(root)
    if not refresh and (lent := _find_in_extra_roots(cache, plan.key, handle.sha256)) is not None:
        return lent

    def fill(into: Path, parts: Path) -> FetchResult:
        settings.validate()
        if settings.uses_local_copy():
            return _fetch_via_bucket(answer, plan, into, parts, refresh)
        if root.source == settings.TEMPORARY:
            _warn_temporary_cache(root.value)
        return _fetch_with_mirrors(answer, plan, into, parts)

    label = handle.public if handle.scheme else local.find_place(handle)
    try:
        record = cache.ensure(label, plan.key, fill, refresh=refresh, sha256=handle.sha256)
        return Resolved(cache.path(record), record)
    except OfflineError as error:
        if refresh or not (extra := settings.extra_roots()):
            raise
        raise OfflineError(f"{error.text}\n  looked also in {', '.join(extra)}", fix=error.fix) from error


def _fetch_with_mirrors(answer: ResolvedPlan, plan: Fetch, into: Path, parts: Path) -> FetchResult:
    """Fill a directory from the handle; where that fails, from the first mirror that can."""
    from tfimm_resolver._util import fs
    from tfimm_resolver.manifest import FetchResult
    from tfimm_resolver.transfer.downloader import Downloader  # the network is loaded on a miss only

    places, failures = (answer.handle, *answer.mirrors), list[FetchError]()
    for place, following in zip(places, (*answer.mirrors, None), strict=True):
        transfer = Downloader(place, parts)
        try:
            (plan if place is answer.handle else rules.mirror_plan(place)).fill(into, transfer)
            return FetchResult(transfer.origin, transfer.files)
        except IntegrityError:  # other bytes than are pinned are no reason to look on, but to be told
            raise
        except FetchError as error:
            if not answer.mirrors:
                raise
            failures.append(error)
            if following is not None:
                log.warning("%s; trying the mirror %s", error.text, following)
            fs.clear_dir(into)
    raise _all_mirrors_failed(failures) from failures[0]


def _fetch_via_bucket(answer: ResolvedPlan, plan: Fetch, into: Path, parts: Path, refresh: bool) -> FetchResult:
    """Fill a directory from the cache in the bucket, and that one where it has no such model, either."""
    from tfimm_resolver.cache.bucket_root import PreparedStaging
    from tfimm_resolver.cache.cache import Cache
    from tfimm_resolver.cache.roots import open_bucket
    from tfimm_resolver.manifest import FetchResult
    from tfimm_resolver.transfer.downloader import Downloader  # with the rest, of which a hit needs nothing

    def fill(staged: Path, unfinished: Path) -> FetchResult:
        return _fetch_with_mirrors(answer, plan, staged, unfinished)

    handle, bucket = answer.handle, Cache(open_bucket(settings.urls_root().value, PreparedStaging(into, parts)))
    record = bucket.ensure(handle.public, plan.key, fill, refresh=refresh, sha256=handle.sha256)
    if not os.listdir(into):  # it was there already
        Downloader(handle).objects(bucket.path(record), into, record.files)
    return FetchResult(record.origin, record.files, record.fetched_at)


def _find_in_extra_roots(cache: Cache, key: str, sha256: str | None) -> Resolved | None:
    """A whole model in an extra root, unless the cache has one that was fetched later, by a refresh as a rule."""
    from tfimm_resolver.cache.cache import Cache
    from tfimm_resolver.cache.roots import open_root

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
        return None if is_later else Resolved(lender.path(theirs), theirs)
    return None


_warned_temporary: set[str] = set()


def _warn_temporary_cache(place: str) -> None:
    """Say once that a temporary root does not last."""
    if place not in _warned_temporary:
        _warned_temporary.add(place)
        log.warning("%s may be emptied by the system; to keep models: export TFHUB_CACHE_DIR=~/.cache/tfhub_modules", place)
