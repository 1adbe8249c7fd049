"""Lists what the cache holds, for people: a sequence that Python prints as a table, and a notebook shows as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from tfimm_resolver._util import tables
from tfimm_resolver.maintenance import inventory, views
from tfimm_resolver.maintenance.cached_model import CachedModel


class CachedModels(Sequence[CachedModel]):
    """The models that a cache held when they were listed; printed as a table, of which a notebook makes HTML.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> models = tfimm_resolver.cached()
        >>> len(models), models[0].state, [model.path == path for model in models]
        (1, 'ok', [True])
    """

    def __init__(self, models: Iterable[CachedModel] = ()) -> None:
        self._models = tuple(models)
        self._summary = views.summarize_models(self._models)

    @overload
    def __getitem__(self, index: int) -> CachedModel: ...

    @overload
    def __getitem__(self, index: slice) -> CachedModels: ...

    def __getitem__(self, index: int | slice) -> CachedModel | CachedModels:
        return CachedModels(self._models[index]) if isinstance(index, slice) else self._models[index]

    def __len__(self) -> int:
        return len(self._models)

    def __iter__(self) -> Iterator[CachedModel]:
        return iter(self._models)

    def __eq__(self, other: object) -> bool:
        return self._models == other._models if isinstance(other, CachedModels) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._models)

    def __repr__(self) -> str:
        return tables.format_text(views.make_models_table(self._models, summary=self._summary, has_paths=False))

    def _repr_html_(self) -> str:
        return tables.format_html(views.make_models_table(self._models, summary=self._summary, has_paths=True))


def cached(*, filters: str | Iterable[str] = (), sort: str = "name") -> CachedModels:
    """Return what the cache holds, as the command ``ls`` lists it: models, and the repositories and weights of the hub.

    It reads what was recorded, and needs neither TensorFlow nor, unless the cache or what is behind it is a bucket, the
    network. Each ``CachedModel`` has a ``name``, a ``handle``, a ``path``, ``size_bytes``, ``state`` and ``used_s``, when
    it was last used, in seconds since 1970. The functions ``select``, ``verify``, ``remove``, ``keep`` and ``unkeep`` of
    ``maintenance`` accept it in place of a name.

    Args:
        filters: what a model has to match, such as ``"used>30d size>1GB"``, ``"state=damaged"`` or ``"kept"``.
        sort: ``name``; ``size``, the largest first; or ``used``, the one that was not used for longest first.

    Raises:
        HandleError: if a filter or the order is not known.
        CacheError: if a directory cannot be listed.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> print(tfimm_resolver.cached(filters="size<1MB"))  # the first line names the directory
        1 model, ... in ...
        MODEL                                         SIZE  USED      STATE
        https://models.example/half_plus_two/1.tar.gz ...  just now  ok
    """
    return CachedModels(inventory.list_models(filters=filters, sort=sort))
