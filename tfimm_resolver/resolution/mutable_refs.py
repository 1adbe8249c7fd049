"""Follows a mutable handle to the model that it refers to now; while that cannot be fetched, to a cached one or a mirror."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import Entry
from tfimm_resolver.cache.tier import ModelLocation, Tier
from tfimm_resolver.errors import FetchError, IntegrityError, NotFoundError, ResolverError, SignatureError
from tfimm_resolver.handles.handle import Handle, get_key
from tfimm_resolver.handles.pin import NO_PIN
from tfimm_resolver.progress.events import emit
from tfimm_resolver.resolution import overrides, rules
from tfimm_resolver.resolution.request import ResolvedPlan
from tfimm_resolver.resolution.upstream import Upstream, make_mirrors_error
from tfimm_resolver.sources.plan import InPlace, MutableRef

log = logging.getLogger("tfimm_resolver")


class MutableHandle:
    """A mutable handle, whose plan is a ``MutableRef``."""

    def __init__(self, resolved: ResolvedPlan, make_upstream: Callable[[ResolvedPlan], Upstream] = Upstream) -> None:
        assert isinstance(resolved.plan, MutableRef)
        self._make_upstream = make_upstream
        self._resolved, self._newest, self._local = resolved, resolved.plan.newest, resolved.plan.local

    def fetch(self, fetch: Callable[[ResolvedPlan], ModelLocation]) -> ModelLocation:
        """Fetch the model that the handle refers to now; if upstream fails, use a cached one, else a mirror.

        ``fetch`` fetches the model of an immutable handle; raises as it does.
        """
        fixed = None
        try:
            fixed = self._make_upstream(self._resolved).look_up()
            found = fetch(rules.follow_ref(self._resolved, fixed))
        except SignatureError:  # what is there now is not what it should be: a person has to see it
            raise
        except FetchError as error:
            if (cached := self._fetch_cached(fetch, error)) is not None:
                return cached
            return self._fetch_from_mirror(fetch, error if fixed else self._explain_damage(error))
        self._store_alias(fixed)
        return found

    def find_cached(self, find: Callable[[ResolvedPlan], ModelLocation | None]) -> ModelLocation | None:
        """Return where the model is that would be used if upstream failed, or None; ``find`` finds an immutable one."""
        fixed = self._find_cached_handle()
        found = find(rules.follow_ref(self._resolved, fixed)) if fixed is not None else None
        for mirror in () if found else self._resolved.mirrors:
            with contextlib.suppress(NotFoundError):  # not usable as a mirror
                found = found or find(rules.use_mirror(self._resolved, mirror))
        return found

    def _fetch_cached(self, fetch: Callable[[ResolvedPlan], ModelLocation], error: FetchError) -> ModelLocation | None:
        """Return where a cached model is, or None; logs that ``error`` is the reason for using it."""
        cached = None if self._resolved.request.refresh else self._find_cached_handle()
        if cached is None:
            return None
        with contextlib.suppress(FetchError):  # for example if it does not match the pin
            found = fetch(rules.follow_ref(self._resolved, cached))
            log.warning("%s is served from the cache, as %s: %s", self._resolved.handle, cached, error.text)
            return found
        return None

    def _fetch_from_mirror(self, fetch: Callable[[ResolvedPlan], ModelLocation], error: FetchError) -> ModelLocation:
        """Fetch from the first mirror that works, into the cache under the mirror's key; ``error`` is upstream's failure."""
        if isinstance(error, IntegrityError) or not self._resolved.mirrors:
            raise error
        failures = [error]
        for mirror in self._resolved.mirrors:
            log.warning("%s; trying the mirror %s", failures[-1].text, mirror)
            emit("fetch.mirror", text=failures[-1].text)
            try:
                return fetch(rules.use_mirror(self._resolved, mirror))
            except IntegrityError:
                raise
            except FetchError as failure:
                failures.append(failure)
        raise make_mirrors_error(failures) from error

    def _explain_damage(self, error: FetchError) -> FetchError:
        """Return the error of a failed look-up; if the copy to use instead is damaged, with what is wrong with it."""
        damaged = dict[str, Entry]()
        for tier in tiers.list_tiers():
            with contextlib.suppress(ResolverError):  # a cache that cannot be read counts as empty
                for entry in tier.open().entries():
                    if entry.defect is not None:
                        damaged.setdefault(get_key(entry.record.handle), entry)
        fixed = self._newest(damaged) if self._newest else self._get_alias()
        if fixed is None or (copy := damaged.get(get_key(fixed))) is None:
            return error
        state = f"the cached copy, {show(fixed)} in {show(copy.path)}, is damaged ({show(copy.defect)})"
        return error.with_message(f"{state} and {error.text}")

    def _get_alias(self) -> str | None:
        for tier in tiers.list_tiers():
            with contextlib.suppress(ResolverError):
                if (fixed := tier.open().get_alias(self._resolved.handle.key)) is not None:
                    return fixed
        return None

    def _find_cached_handle(self) -> str | None:
        """Return the handle of a complete model, cached or set by ``set_model_cache``, to use instead of the latest, or None.

        A model that matches the pin is preferred to newer ones; if none matches, the newest is returned, and the caller
        compares it with the pin.
        """
        own_first = sorted(tiers.list_tiers(), key=lambda tier: tier.is_read_only)
        found = self._find_alias(own_first) if self._newest is None else self._find_newest(own_first, self._newest)
        return self._local() if found is None and self._local is not None else found

    def _find_alias(self, in_tiers: list[Tier]) -> str | None:
        for tier in in_tiers:
            with contextlib.suppress(ResolverError):  # a cache that cannot be read counts as empty
                fixed = tier.open().get_alias(self._resolved.handle.key)
                if fixed is not None and _is_cached(fixed):
                    return fixed
        return None

    def _find_newest(self, in_tiers: list[Tier], newest: Callable[[Iterable[str]], str | None]) -> str | None:
        handle, request, matching = self._resolved.handle, self._resolved.request, list[str]()
        complete = [] if request.upstream else [name for name in overrides.list_cached_models() if "://" in name]
        for tier in in_tiers:
            with contextlib.suppress(ResolverError):  # a cache that cannot be read counts as empty
                records = [entry.record for entry in tier.open().entries() if entry.defect is None]
                complete += [record.handle for record in records]
                matching += [get_key(record.handle) for record in records if record.origin.sha256 == handle.sha256]
        found = newest(matching) if handle.sha256 else None
        if found is None or found in matching:
            return found or newest(complete)
        # The newest is in a cache of another tool, which records no sha256 to compare.
        # A version's key begins with the handle's.
        return next((key for key in matching if key.startswith(f"{handle.key}/")), found)

    def _store_alias(self, fixed: str) -> None:
        """Remember what the handle refers to now, for sources whose handles do not tell which one is the newest."""
        for tier in tiers.list_tiers() if self._newest is None else ():
            with contextlib.suppress(ResolverError):  # a root without write permission
                if not tier.is_read_only:
                    tier.open().set_alias(self._resolved.handle.key, fixed)


def _is_cached(text: str) -> bool:
    plan = rules.find_source_plan(Handle.parse(text))
    if isinstance(plan, InPlace):  # a copy of another tool, which the source has just found
        return True
    for tier in tiers.list_tiers() if plan and plan.download else ():
        with contextlib.suppress(ResolverError):  # another cache may have it
            if plan and plan.download and tier.find(plan.download.key, NO_PIN):
                return True
    return False
