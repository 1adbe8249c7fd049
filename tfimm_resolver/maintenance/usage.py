"""Measures how much of the disk the caches use, by model and by kind, and what limits them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util import fs, tables
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache import counters, tiers
from tfimm_resolver.cache.contents import KINDS, MODEL, open_stores
from tfimm_resolver.cache.counters import Counters
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.errors import CacheError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.maintenance import inventory, views
from tfimm_resolver.maintenance.cache_item import CacheItem, describe_items


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """How much of the disk the caches use.

    Attributes:
        root: the path or URL of the cache.
        items: what it holds, with what the hub has fetched, the largest first.
        named_bytes: the size of models that are stored under their names in ``get_dir()``; no limit counts them.
        max_bytes: the limit of the cache; None without one, and in a bucket, from which nothing is evicted.
        max_source: the setting that it comes from.
        free_bytes: what is free on the disk of the cache; None in a bucket.
        counters: roughly how often models were found and fetched by this user on this machine, and the bytes of that.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> usage = tfimm_resolver.maintenance.measure()
        >>> usage.kinds()["model"][0], usage.total_bytes == usage.items[0].size_bytes
        (1, True)
    """

    root: str
    items: tuple[CacheItem, ...]
    named_bytes: int = 0
    max_bytes: int | None = None
    max_source: str = ""
    free_bytes: int | None = None
    counters: Counters = field(default_factory=Counters)

    @property
    def total_bytes(self) -> int:
        """The size of the cache, as its limit counts it."""
        return sum(item.size_bytes for item in self.items)

    def kinds(self) -> dict[str, tuple[int, int]]:
        """Return for each kind how many items there are, and their total size."""
        sizes = {kind: [item.size_bytes for item in self.items if item.kind == kind] for kind in KINDS}
        return {kind: (len(each), sum(each)) for kind, each in sizes.items()}

    def _repr_html_(self) -> str:
        return tables.format_html(views.make_usage_table(self))

    def facts(self) -> dict[str, Any]:
        """Return the fields that ``--json`` prints."""
        return {
            "root": self.root,
            "items": [item.facts() for item in self.items],
            "kinds": [{"kind": kind, "count": count, "size_bytes": size} for kind, (count, size) in self.kinds().items()],
            "total_bytes": self.total_bytes,
            "named_bytes": self.named_bytes,
            "max_bytes": self.max_bytes,
            "free_bytes": self.free_bytes,
            "counters": self.counters._asdict(),
        }


def measure() -> CacheUsage:
    """Return what the cache and the hub hold, the largest first, with the limit of the cache and the free space.

    Extra roots, and a bucket behind the cache, are not counted.

    Raises:
        CacheError: if the cache cannot be read.
        HandleError: if a limit is not a size or a duration.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> [item.path == path for item in tfimm_resolver.maintenance.measure().items]
        [True]
    """
    root, limits = settings.cache_root().value, settings.cache_limits()
    with map_os_errors(CacheError, f"cannot read the cache at {show(root)}", show_path=True):
        found = [item for store in open_stores() for item in store.list_items(store.list_names())]
        items = [*describe_items(found, found), *_list_bucket_items()]
        disk_bytes, free_bytes = _measure_disk(root)
        named_bytes = sum(model.size_bytes for model in inventory.list_named_models())
    max_bytes = limits.max_size.to_bytes(disk_bytes) if limits.max_size and not settings.is_bucket(root) else None
    items.sort(key=lambda item: (-item.size_bytes, item.name))
    max_source, counts = dict(limits.sources).get("max_size", ""), counters.read_counters(root)
    return CacheUsage(root, tuple(items), named_bytes, max_bytes, max_source, free_bytes, counts)


def _list_bucket_items() -> Iterator[CacheItem]:
    """Yield the models of a cache that is itself in a bucket."""
    if isinstance(tiers.open_cache().root, LocalRoot):
        return
    for model in inventory.list_models():
        if model.entry is not None and not model.other_root and settings.is_bucket(model.path):
            yield CacheItem(model.name, MODEL, model.path, model.size_bytes, model.used_s)


def _measure_disk(path: str) -> tuple[int | None, int | None]:
    """Return the size and the free bytes of the disk of a directory, which may not exist yet; None in a bucket."""
    folder = "" if settings.is_bucket(path) else fs.find_existing_directory(path)
    return (fs.get_disk_bytes(folder) if folder else None) or (None, None)
