"""Resolves a handle to a path, and fetches the model if it is not cached."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import FetchError, HandleError, IntegrityError, NotFoundError, OfflineError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.resolution import fallback, overrides, rules
from tfimm_resolver.resolution.locations import ModelLocation, find_in_extra_roots
from tfimm_resolver.resolution.rules import ResolvedPlan
from tfimm_resolver.sources import local
from tfimm_resolver.sources.plan import Fetch, InPlace, MutableRef, RemoteLocation

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.cache.cache import Cache
    from tfimm_resolver.manifest import FetchResult
    from tfimm_resolver.models_file.schema import ModelEntry

log = logging.getLogger("tfimm_resolver")


def resolve(handle: str | os.PathLike[str], *, refresh: bool = False, sha256: str | None = None) -> str:
    """Return the absolute path, or ``gs://`` URL, from which TensorFlow can load a model; fetch it first if it is not cached.

    Looks in this order: ``set_model_cache``, the project's models file, names below ``get_dir()``, local paths, the extra
    roots, the cache, and finally upstream.

    Args:
        handle: a tfhub-style URL, the URL or path of an archive, a ``gs://`` path, a directory, or a model name.
        refresh: fetch the model again. Readers of the old copy are not disturbed, and it stays if the fetch fails.
        sha256: the required hash of the archive, 64 hexadecimal digits; also as ``#sha256=...`` at the end of the handle.

    Raises:
        HandleError: if the handle or the models file cannot be parsed, or no rule matches the handle.
        FetchError: if the model could not be fetched completely, or does not match its pin.
        CacheError: if the cache root cannot be used.

    Example:
        >>> tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        '/.../...'
    """
    return fetch(rules.match_rule(Handle.parse(handle, sha256=sha256)), refresh=refresh).path


def cached_model_path(model_name: str) -> str | None:
    """Return the path of a model by its name, in the lookup order of ``resolve``; None if it is not on this machine.

    Also None, with a warning in the log, if the path given to ``set_model_cache`` does not exist, or if the cached copy
    does not match the pin in the models file. Fetches nothing.

    Raises:
        HandleError: if the name is not valid.
        ModelsFileError: if the models file cannot be used.

    Example:
        >>> tfimm_resolver.cached_model_path("resnet18") is None
        True
        >>> with tfimm_resolver.using(models={"resnet18": "gs://bucket/resnet18"}):
        ...     tfimm_resolver.cached_model_path("resnet18")
        'gs://bucket/resnet18'
    """
    if overrides.get_override(overrides.parse_key(model_name)) is None and "://" not in model_name:
        try:
            resolved = rules.match_models_file(Handle.parse(model_name))
            if resolved is not None:
                found = find_cached(resolved)
                return found.path if found else None
        except (IntegrityError, rules.MissingOverrideError) as error:
            log.warning("%s", error.text)
            return None
    return overrides.find_path(model_name)


def fetch(resolved: ResolvedPlan, *, refresh: bool = False) -> ModelLocation:
    """Return where the model of a plan is; fetch it first if it is not cached. Raises as ``resolve`` does."""
    handle, plan = resolved.handle, resolved.plan
    if isinstance(plan, InPlace):
        return _use_path(resolved, plan)
    if isinstance(plan, MutableRef):
        return _fetch_mutable(resolved, plan, refresh)
    if isinstance(plan, RemoteLocation):
        # A pin is the hash of an archive: an uncompressed model cannot be compared with it.
        path = _locate_remote(handle, plan) if handle.sha256 is None else None
        if path is not None:
            return ModelLocation(path)
        plan = plan.otherwise
    try:
        return _check_size(resolved, _ensure_cached(resolved, plan, refresh))
    except IntegrityError as error:
        if resolved.model is None:
            raise
        raise _add_pin_location(resolved.model, error) from error


def find_cached(resolved: ResolvedPlan) -> ModelLocation | None:
    """Return where the model of a plan is already; None if it would have to be fetched. Does not ask upstream.

    Raises:
        IntegrityError: if the cached model does not match its pin.
    """
    if isinstance(resolved.plan, InPlace):
        return _use_path(resolved, resolved.plan)
    if isinstance(resolved.plan, MutableRef):
        fixed = fallback.find_cached_fallback(resolved, resolved.plan)
        found = find_cached(rules.follow_ref(resolved, fixed)) if fixed is not None else None
        for mirror in () if found else resolved.mirrors:
            with contextlib.suppress(NotFoundError):  # not usable as a mirror
                found = found or find_cached(_use_mirror(resolved, mirror))
        return found
    plan = resolved.plan.otherwise if isinstance(resolved.plan, RemoteLocation) else resolved.plan
    cache, sha256 = _open_cache(settings.cache_root()), resolved.handle.sha256
    try:
        found = find_in_extra_roots(cache, plan.key, sha256)
        if found is None and (record := cache.find(plan.key, sha256)) is not None:
            found = ModelLocation(cache.path(record), record)
        return found and _check_size(resolved, found)
    except IntegrityError as error:
        if resolved.model is None:
            raise
        raise _add_pin_location(resolved.model, error) from error


def _use_path(resolved: ResolvedPlan, plan: InPlace) -> ModelLocation:
    if resolved.handle.sha256 is not None:
        raise HandleError(f"{resolved.handle} is a directory: only an archive can be pinned by sha256")
    return ModelLocation(plan.path)


def _check_size(resolved: ResolvedPlan, found: ModelLocation) -> ModelLocation:
    """Return the location if the archive has the size that the models file states; raise IntegrityError otherwise."""
    pinned = resolved.model.size_bytes if resolved.model else None
    cached = found.record.origin.size_bytes if found.record else None
    if pinned is not None and cached not in (None, pinned):
        raise IntegrityError(
            f"the archive of {resolved.handle} has a different size:\n  cached {cached} bytes\n  pinned {pinned} bytes"
        )
    return found


def _add_pin_location(model: ModelEntry, error: IntegrityError) -> IntegrityError:
    """Return the error with the location of the pin added."""
    return error.with_message(f"{error.text}\n  {show(model.name)} is pinned in {show(model.location)}")


def _fetch_mutable(resolved: ResolvedPlan, plan: MutableRef, refresh: bool) -> ModelLocation:
    """Fetch the model that a mutable handle refers to now; if upstream fails, use a cached one, else a mirror."""
    from tfimm_resolver.transfer.downloader import Downloader

    handle = resolved.handle
    try:
        fixed = plan.now(Downloader(handle))
        found = fetch(rules.follow_ref(resolved, fixed), refresh=refresh)
    except FetchError as error:
        cached = None if refresh else fallback.find_cached_fallback(resolved, plan)
        if cached is not None:
            with contextlib.suppress(FetchError):  # for example if it does not match the pin
                found = fetch(rules.follow_ref(resolved, cached))
                log.warning("%s is served from the cache, as %s: %s", handle, cached, error.text)
                return found
        if isinstance(error, IntegrityError) or not resolved.mirrors:
            raise
        return _fetch_from_mirror(resolved, error, refresh)
    fallback.store_alias(handle, plan, fixed)
    return found


def _fetch_from_mirror(resolved: ResolvedPlan, error: FetchError, refresh: bool) -> ModelLocation:
    """Fetch the model from the first mirror that works, cached under the mirror's key; ``error`` is upstream's failure."""
    failures = [error]
    for mirror in resolved.mirrors:
        log.warning("%s; trying the mirror %s", failures[-1].text, mirror)
        try:
            return fetch(_use_mirror(resolved, mirror), refresh=refresh)
        except IntegrityError:
            raise
        except FetchError as failure:
            failures.append(failure)
    raise _make_mirrors_error(failures) from error


def _use_mirror(resolved: ResolvedPlan, mirror: Handle) -> ResolvedPlan:
    return replace(resolved, handle=mirror, plan=rules.make_mirror_plan(mirror))


def _make_mirrors_error(failures: list[FetchError]) -> FetchError:
    """Return the first error, with those of the mirrors added."""
    details = "\n  ".join(["all mirrors failed:", *(error.text for error in failures[1:])])
    return failures[0].with_message(f"{failures[0].text}\n  {details}")


def _locate_remote(handle: Handle, plan: RemoteLocation) -> str | None:
    from tfimm_resolver.transfer.downloader import Downloader

    return plan.where(Downloader(handle))


def _open_cache(root: settings.Setting) -> Cache:
    from tfimm_resolver.cache.cache import Cache  # imported here: importing the package should not cost these 3 ms
    from tfimm_resolver.cache.roots import open_root

    return Cache(open_root(root.value, root.mode))


def _ensure_cached(resolved: ResolvedPlan, plan: Fetch, refresh: bool) -> ModelLocation:
    handle, root = resolved.handle, settings.cache_root(create=True)
    cache = _open_cache(root)
    if not refresh and (shared := find_in_extra_roots(cache, plan.key, handle.sha256)) is not None:
        return shared

    def fill(into: Path, parts: Path) -> FetchResult:
        settings.validate()
        if settings.uses_local_copy():
            return _fetch_via_bucket(resolved, plan, into, parts, refresh)
        if root.source == settings.TEMPORARY:
            _warn_temporary_cache(root.value)
        return _fetch_with_mirrors(resolved, plan, into, parts)

    label = handle.redacted if handle.scheme else local.find_path(handle)
    try:
        record = cache.ensure(label, plan.key, fill, refresh=refresh, sha256=handle.sha256)
        return ModelLocation(cache.path(record), record)
    except OfflineError as error:
        if refresh or not (extra := settings.extra_roots()):
            raise
        raise OfflineError(f"{error.text}\n  also looked in {', '.join(map(show, extra))}", fix=error.fix) from error


def _fetch_with_mirrors(resolved: ResolvedPlan, plan: Fetch, into: Path, parts: Path) -> FetchResult:
    """Fill a directory from the handle; if that fails, from the first mirror that works."""
    from tfimm_resolver._util import fs
    from tfimm_resolver.manifest import FetchResult
    from tfimm_resolver.transfer.downloader import Downloader  # network code is imported on a miss only

    sources, failures = (resolved.handle, *resolved.mirrors), list[FetchError]()
    for source, following in zip(sources, (*resolved.mirrors, None), strict=True):
        downloader = Downloader(source, parts)
        try:
            (plan if source is resolved.handle else rules.make_mirror_plan(source)).fill(into, downloader)
            return FetchResult(downloader.origin, downloader.files)
        except IntegrityError:  # a mismatch with the pin must be reported, not hidden by trying the next mirror
            raise
        except FetchError as error:
            if not resolved.mirrors:
                raise
            failures.append(error)
            if following is not None:
                log.warning("%s; trying the mirror %s", error.text, following)
            fs.clear_dir(into)
    raise _make_mirrors_error(failures) from failures[0]


def _fetch_via_bucket(resolved: ResolvedPlan, plan: Fetch, into: Path, parts: Path, refresh: bool) -> FetchResult:
    """Fill a directory from the cache in the bucket, after filling that cache if it does not have the model."""
    from tfimm_resolver.cache.bucket_root import PreparedStaging
    from tfimm_resolver.cache.cache import Cache
    from tfimm_resolver.cache.roots import open_bucket
    from tfimm_resolver.manifest import FetchResult
    from tfimm_resolver.transfer.downloader import Downloader  # network code is imported on a miss only

    def fill(staged: Path, unfinished: Path) -> FetchResult:
        return _fetch_with_mirrors(resolved, plan, staged, unfinished)

    handle, bucket = resolved.handle, Cache(open_bucket(settings.urls_root().value, PreparedStaging(into, parts)))
    record = bucket.ensure(handle.redacted, plan.key, fill, refresh=refresh, sha256=handle.sha256)
    if not os.listdir(into):  # the bucket had the model already
        Downloader(handle).objects(bucket.path(record), into, record.files)
    return FetchResult(record.origin, record.files, record.fetched_at)


_warned_temporary: set[str] = set()


def _warn_temporary_cache(root: str) -> None:
    """Warn once that the system may clear a temporary root."""
    if root not in _warned_temporary:
        _warned_temporary.add(root)
        log.warning(
            "%s is a temporary directory that the system may clear; "
            "for a persistent cache: export TFHUB_CACHE_DIR=~/.cache/tfhub_modules",
            root,
        )
