"""Removes models from the cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.contents import MODEL
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.roots import Root
from tfimm_resolver.errors import CacheError, ResolverError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.handles.arguments import list_names
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.maintenance.cached_model import CachedModel, measure_size_bytes


@dataclass(frozen=True, slots=True)
class RemoveResult:
    """The outcome for one cached model.

    Attributes:
        model: the model as it was listed before.
        state: ``removed``, or ``removable`` in a dry run; ``failed`` if it was not removed, or would not be.
        error: why it could not be removed; None if it was removed.
        freed_bytes: what the removal has freed, or would free, with replaced copies and a partial download of the model.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> (result,) = tfimm_resolver.maintenance.remove("https://models.example/half_plus_two/1.tar.gz")
        >>> result.state, result.model.path == path, result.error
        ('removed', True, None)
    """

    model: CachedModel
    state: str
    error: ResolverError | None = None
    freed_bytes: int = 0


def remove(
    models: str | CachedModel | Iterable[str | CachedModel], *, dry_run: bool = False, force: bool = False
) -> list[RemoveResult]:
    """Remove models from the cache, and from the bucket behind it, which would otherwise restore them.

    Args:
        models: one or several models, each a name that ``select`` accepts, or a ``CachedModel``.
        dry_run: remove nothing, and return what would be removed now.
        force: remove models that were used lately, too, where no locks tell whether a process still uses them: on some network
            disks, and at once from a bucket, where otherwise only the record goes and the files follow a day later. What is
            known to be in use stays.

    Returns:
        One result for each copy: a model that is also in the bucket behind a local cache has two. After a failure the other
        models are removed nevertheless.

    Raises:
        HandleError: before anything is removed, if a model is neither a name nor a CachedModel.
        UnknownHandleError: before anything is removed, if a name matches no cached model, or more than one.
        CacheError: before anything is removed, if a model is only in an extra root, which is read-only, or was not put
            there by this package.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> [result.state for result in tfimm_resolver.maintenance.remove([path])]
        ['removed']
        >>> tfimm_resolver.maintenance.list()
        []
    """
    requested = list_names(models, "models", also=(CachedModel,))
    plan = RemovalPlan(inventory.select(requested) if requested else [], force=force)
    return plan.preview() if dry_run else plan.execute()


def list_removable() -> list[CachedModel]:
    """Return every model that ``remove`` can remove: not those in extra roots, and not those that a user has put there."""
    return [model for model in inventory.list_models() if model.entry is not None and not model.is_read_only]


class RemovalPlan:
    """What ``remove`` removes; raises as ``remove`` does."""

    def __init__(self, selected: Sequence[CachedModel], *, force: bool = False) -> None:
        self._force = force
        removable = [model for model in selected if not model.is_read_only]
        _check_removable(selected, removable)
        directories = _EntryDirectories()
        self._copies = [
            (model, model.entry.name, directories.measure(model, model.entry.name)) for model in removable if model.entry
        ]

    def preview(self) -> list[RemoveResult]:
        """Return what would be removed."""
        directories = _EntryDirectories()
        return self._run(directories.find_removal_error, "removable")

    def execute(self) -> list[RemoveResult]:
        """Remove it; return what was removed."""
        return self._run(_remove_entry, "removed")

    def _run(self, act: Callable[[CachedModel, str, bool], ResolverError | None], state: str) -> list[RemoveResult]:
        results: list[RemoveResult] = []
        errors: dict[tuple[str, str], ResolverError | None] = {}
        for model, name, size_bytes in self._copies:
            if (key := (model.kind, name)) not in errors:
                errors[key] = act(model, name, self._force)
            error = errors[key]
            results.append(RemoveResult(model, "failed" if error else state, error, 0 if error else size_bytes))
        return results


class _EntryDirectories:
    """The directories of entries; each root is opened and listed once."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, list[str]]] = {}
        self._caches: dict[str, list[Cache]] = {}
        self._owners: dict[tuple[str, str], Root] = {}

    def measure(self, model: CachedModel, name: str) -> int:
        """Return the size of all files of a copy: of its directories and its partial download."""
        root = self._open_owner(model)
        if not isinstance(root, LocalRoot):
            return model.size_bytes
        with map_os_errors(CacheError, f"cannot read the cache at {show(root.path)}", show_path=True):
            paths = [root.path_of(directory) for directory in self._list(root, name)]
            return sum(measure_size_bytes(path) for path in paths if not os.path.islink(path))  # a link frees nothing

    def find_removal_error(self, model: CachedModel, name: str, force: bool) -> ResolverError | None:
        """Return the error with which the removal of an entry would fail; None if it would succeed."""
        try:
            if model.kind not in self._caches:
                self._caches[model.kind] = _list_caches(model)
            for cache in self._caches[model.kind]:
                if isinstance(cache.root, LocalRoot):
                    cache.root.check_removal(self._list(cache.root, name), force=force)
        except ResolverError as error:
            return error
        return None

    def _open_owner(self, model: CachedModel) -> Root:
        key = (model.kind, model.other_root)
        if key not in self._owners:
            self._owners[key] = inventory.open_owner(model).root
        return self._owners[key]

    def _list(self, root: LocalRoot, name: str) -> list[str]:
        if root.path not in self._names:
            by_entry: dict[str, list[str]] = {}
            for other in root.list_names():
                by_entry.setdefault(other.partition(".")[0], []).append(other)
            self._names[root.path] = by_entry
        return root.list_directories(name, self._names[root.path].get(name, ()))


def _check_removable(selected: Sequence[CachedModel], removable: Sequence[CachedModel]) -> None:
    for model in selected:
        if model.entry is None:
            raise CacheError(
                f"{show(model.path)} was not created by tfimm-resolver, so it is not removed",
                fix="Remove the directory yourself.",
            )
        if model.entry.name not in [other.entry.name for other in removable if other.entry]:
            raise CacheError(
                f"{show(model.name)} is in {show(model.other_root)}, an extra root, which is read-only",
                fix="Ask the owner of that root to remove it. TFIMM_RESOLVER_EXTRA_ROOTS lists the extra roots.",
            )


def _list_caches(model: CachedModel) -> list[Cache]:
    """Return every cache that a model is removed from."""
    if model.kind != MODEL:
        return [inventory.open_owner(model)]
    return [tier.open() for tier in tiers.list_tiers() if not tier.is_read_only]


def _remove_entry(model: CachedModel, name: str, force: bool) -> ResolverError | None:
    """Remove an entry everywhere; return the error if that fails."""
    try:
        for cache in _list_caches(model):
            cache.remove(name, force=force)
    except ResolverError as error:
        return error
    return None
