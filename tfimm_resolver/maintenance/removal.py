"""Removes models from the cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache import tiers
from tfimm_resolver.errors import CacheError, ResolverError
from tfimm_resolver.handles.arguments import list_names
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.maintenance.inventory import CachedModel


@dataclass(frozen=True, slots=True)
class RemoveResult:
    """The outcome for one cached model.

    Attributes:
        model: the model as it was listed before.
        state: ``removed``, or ``failed``.
        error: why it could not be removed; None if it was removed.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> (result,) = tfimm_resolver.maintenance.remove("https://models.example/half_plus_two/1.tar.gz")
        >>> result.state, result.model.path == path, result.error
        ('removed', True, None)
    """

    model: CachedModel
    state: str
    error: ResolverError | None = None


def remove(models: str | CachedModel | Iterable[str | CachedModel], *, force: bool = False) -> list[RemoveResult]:
    """Remove models from the cache, and from the bucket behind it, which would otherwise restore them.

    Args:
        models: one or several models, each a name that ``select`` accepts, or a ``CachedModel``.
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
    selected = inventory.select(requested) if (requested := list_names(models, "models", also=(CachedModel,))) else []
    removable = [model for model in selected if not model.is_read_only]
    _check_removable(selected, removable)
    errors = {model.entry.name: _remove_entry(model.entry.name, force=force) for model in removable if model.entry}
    found = [(model, errors[model.entry.name]) for model in removable if model.entry]
    return [RemoveResult(model, "failed" if error else "removed", error) for model, error in found]


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


def _remove_entry(name: str, *, force: bool) -> ResolverError | None:
    """Remove an entry everywhere; return the error if that fails."""
    try:
        for tier in tiers.list_tiers():
            if not tier.is_read_only:
                tier.open().remove(name, force=force)
    except ResolverError as error:
        return error
    return None
