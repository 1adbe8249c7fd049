"""Removes what a cache does not need: models by size and age, partial downloads, replaced copies; and keeps chosen models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util import tables
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache import keeping, tiers
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.contents import REPLACED, open_stores
from tfimm_resolver.cache.eviction import Eviction, Evictor
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.errors import CacheError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.handles.arguments import list_names
from tfimm_resolver.maintenance import cache_item, inventory, views
from tfimm_resolver.maintenance.cache_item import CacheItem
from tfimm_resolver.maintenance.cached_model import CachedModel
from tfimm_resolver.settings.limits import CacheLimits, parse_duration_s, parse_size


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What ``prune`` has removed, or would remove.

    Attributes:
        removed: in the order of removal.
        spared: how many models were to be removed, but were not, for each reason: ``in use``, ``used lately``, ``protected``,
            ``without a record``.
        before_bytes: the size of the cache before, with what the hub has fetched.
        after_bytes: its size afterwards.
        missing_bytes: by how much the limits are exceeded afterwards.
        is_dry_run: whether nothing was removed.

    Example:
        >>> tfimm_resolver.maintenance.prune(dry_run=True).removed
        ()
    """

    removed: tuple[CacheItem, ...] = ()
    spared: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    before_bytes: int = 0
    after_bytes: int = 0
    missing_bytes: int = 0
    is_dry_run: bool = False

    @property
    def freed_bytes(self) -> int:
        """How many bytes were freed, or with ``is_dry_run`` would be."""
        return self.before_bytes - self.after_bytes

    def _repr_html_(self) -> str:
        return tables.format_html(views.make_prune_table(self))

    def facts(self) -> dict[str, Any]:
        """Return the fields that ``--json`` prints."""
        return {
            "removed": [item.facts() for item in self.removed],
            "spared": {"_".join(reason.split()): count for reason, count in sorted(self.spared.items())},
            "before_bytes": self.before_bytes,
            "after_bytes": self.after_bytes,
            "freed_bytes": self.freed_bytes,
            "missing_bytes": self.missing_bytes,
            "dry_run": self.is_dry_run,
        }


def prune(
    *, max_size: str | None = None, max_age: str | None = None, keep: str | Iterable[str] = (), dry_run: bool = False
) -> PruneResult:
    """Remove partial downloads and replaced copies that nothing uses, and models until the limits of the cache hold.

    The least recently used model goes first; repositories and weights of the hub count as models. A model is spared if a
    process uses it, if it was used within the last hour, if ``keep`` protects it, and if this package did not record its
    files. Models that a project's models file names go last.

    Args:
        max_size: the size of the cache, with what the hub has fetched, such as ``"50GB"`` or ``"20%"`` of the disk; by
            default, ``TFIMM_RESOLVER_MAX_SIZE``.
        max_age: how long a model may be unused, such as ``"90d"``; by default, ``TFIMM_RESOLVER_MAX_AGE``.
        keep: names of models to spare this time, as for ``select``.
        dry_run: remove nothing, and return what would be removed now.

    Raises:
        HandleError: if a limit is not a size or a duration.
        UnknownHandleError: if a name to keep matches no cached model, or more than one.
        CacheError: if the cache cannot be used, or is a bucket and a limit is given.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> result = tfimm_resolver.maintenance.prune(max_size="1B")
        >>> result.removed, result.spared["used lately"]
        ((), 1)
    """
    plan = PrunePlan(max_size=max_size, max_age=max_age, keep=keep)
    return plan.preview() if dry_run else plan.execute()


class PrunePlan:
    """What ``prune`` removes now; raises as ``prune`` does."""

    def __init__(self, *, max_size: str | None = None, max_age: str | None = None, keep: str | Iterable[str] = ()) -> None:
        limits = _choose_limits(max_size, max_age)
        requested = list_names(keep, "keep")
        protected = {model.entry.name for model in inventory.select(requested) if model.entry} if requested else set()
        cache = tiers.open_cache()
        self._bucket = None if isinstance(cache.root, LocalRoot) else cache
        if self._bucket is not None and (max_size is not None or max_age is not None):
            raise _make_bucket_error()
        with _map_prune_errors():
            self._evictor = Evictor(open_stores(), limits, protected, is_requested=True)
            self._planned = self._evictor.plan(all_unfinished=True)

    def preview(self) -> PruneResult:
        """Return what would be removed."""
        if self._bucket is not None:
            return _prune_bucket(self._bucket, dry_run=True)
        return _make_result(self._planned, is_dry_run=True)

    def execute(self) -> PruneResult:
        """Remove it, except for what is in use by now; return what was removed."""
        if self._bucket is not None:
            return _prune_bucket(self._bucket, dry_run=False)
        with _map_prune_errors():
            return _make_result(self._evictor.evict(self._planned), is_dry_run=False)


def _prune_bucket(cache: Cache, *, dry_run: bool) -> PruneResult:
    """Remove from a bucket what was replaced or removed longer ago than the grace time."""
    from tfimm_resolver.cache.bucket_root import BucketRoot

    if not isinstance(cache.root, BucketRoot):
        raise _make_bucket_error()
    unused = cache.root.remove_unused(lambda name: cache.read_record(name).tree, dry_run=dry_run)
    removed = tuple(
        CacheItem(found.tree, REPLACED, cache.root.path_of(found.tree), found.size_bytes, found.unused_s) for found in unused
    )
    freed_bytes = sum(item.size_bytes for item in removed)
    return PruneResult(removed, before_bytes=freed_bytes, is_dry_run=dry_run)


def _make_bucket_error() -> CacheError:
    return CacheError(
        f"{show(settings.cache_root().value)} is a bucket, in which models are not removed by size or age",
        fix=Advice(
            python="Without a limit, prune removes what was replaced; remove models with maintenance.remove.",
            command="Without a limit, prune removes what was replaced; remove models with `tfimm-resolver rm`.",
        ),
    )


def keep(models: str | CachedModel | Iterable[str | CachedModel]) -> list[CachedModel]:
    """Never evict these models, given as for ``remove``; return them. Raises as ``select`` does.

    Raises:
        CacheError: if one is only in an extra root or a bucket, where nothing is evicted.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> [model.path == path for model in tfimm_resolver.maintenance.keep(path)]
        [True]
    """
    return _set_protected(models, is_protected=True)


def unkeep(models: str | CachedModel | Iterable[str | CachedModel]) -> list[CachedModel]:
    """Undo ``keep``, with the same arguments.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> [model.path == path for model in tfimm_resolver.maintenance.unkeep(path)]
        [True]
    """
    return _set_protected(models, is_protected=False)


def _set_protected(models: str | CachedModel | Iterable[str | CachedModel], *, is_protected: bool) -> list[CachedModel]:
    requested = list_names(models, "models", also=(CachedModel,))
    found = inventory.select(requested) if requested else []
    selected = [model for model in found if not model.other_root]
    _check_own(found, selected)
    for model in selected:
        if model.entry is None:
            raise CacheError(
                f"{show(model.path)} was not created by tfimm-resolver, so it is never evicted",
                fix="Nothing has to be done: only what was fetched is evicted.",
            )
        keeping.set_protected(inventory.open_owner(model).root, model.entry.name, is_protected=is_protected)
    return [replace(model, is_protected=is_protected) for model in selected]


def _check_own(found: Sequence[CachedModel], own: Sequence[CachedModel]) -> None:
    """Check that each model has a copy in the cache itself: nothing is evicted elsewhere."""
    names = {model.entry.name for model in own if model.entry}
    for model in found:
        if model.other_root and model.entry and model.entry.name not in names:
            kind = "an extra root, which is read-only" if model.is_read_only else "a bucket, where nothing is evicted"
            raise CacheError(
                f"{show(model.name)} is in {show(model.other_root)}, {kind}",
                fix="Nothing has to be done: only models in the cache itself are evicted.",
            )


def _choose_limits(max_size: str | None, max_age: str | None) -> CacheLimits:
    limits = settings.cache_limits()
    if max_size is not None:
        limits = limits._replace(max_size=parse_size(max_size, "max_size"))
    return limits if max_age is None else limits._replace(max_age_s=parse_duration_s(max_age, "max_age"))


def _map_prune_errors() -> AbstractContextManager[None]:
    return map_os_errors(CacheError, f"cannot prune the cache at {show(settings.cache_root().value)}", show_path=True)


def _make_result(done: Eviction, *, is_dry_run: bool) -> PruneResult:
    removed = tuple(cache_item.describe_items(done.removed, done.items))
    after_bytes = done.before_bytes - done.freed_bytes
    spared = MappingProxyType(dict(done.spared))
    return PruneResult(removed, spared, done.before_bytes, after_bytes, done.missing_bytes, is_dry_run)
