"""How many bytes an eviction has to free, in all stores together and on each disk, so that the limits hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tfimm_resolver._util import fs
from tfimm_resolver.cache.contents import Item, LocalStore
from tfimm_resolver.settings.limits import CacheLimits

_LOW_WATERMARK = 0.9
"""The part of the size limit that is left after an eviction, so that not every fetch has to evict."""


class Goals:
    """What is still to be freed; ``subtract`` notes each item that will be removed."""

    def __init__(
        self,
        stores: Sequence[LocalStore],
        items: Sequence[Item],
        limits: CacheLimits,
        needed_bytes: int,
        freed_bytes_min: int,
        disk: int | None,
    ) -> None:
        self._limits = limits
        self._disks = {store: number for store in stores if (number := store.get_disk())}
        sizes: Counter[int] = Counter()
        for item in items:
            sizes[self._disks[item.store]] += item.size_bytes
        total_bytes = sizes.total()
        target = disk if disk is not None else next(iter(self._disks.values()), 0)
        excess_bytes, goal_bytes = self._get_excess_bytes(total_bytes + needed_bytes)
        self._excess_bytes, self._total_bytes = min(total_bytes, excess_bytes), min(total_bytes, goal_bytes)
        self._disk_bytes: dict[int, int] = {}
        for store, number in self._disks.items():
            if number not in self._disk_bytes:
                shortage_bytes = self._get_shortage_bytes(store.path, needed_bytes * (number == target))
                at_least = freed_bytes_min if number == target else 0
                self._disk_bytes[number] = max(at_least, min(sizes[number], shortage_bytes))

    def include(self, item: Item) -> bool:
        """Whether the removal of an item brings a goal nearer."""
        return self._total_bytes > 0 or self._disk_bytes.get(self._disks[item.store], 0) > 0

    def subtract(self, item: Item) -> None:
        """Note that an item is removed."""
        self._add(item, -item.size_bytes)

    def restore(self, item: Item) -> None:
        """Note that an item stays after all."""
        self._add(item, item.size_bytes)

    def _add(self, item: Item, size_bytes: int) -> None:
        self._excess_bytes, self._total_bytes = self._excess_bytes + size_bytes, self._total_bytes + size_bytes
        number = self._disks[item.store]
        self._disk_bytes[number] = self._disk_bytes.get(number, 0) + size_bytes

    @property
    def missing_bytes(self) -> int:
        """By how much the limits are exceeded still."""
        return max(0, self._excess_bytes, sum(max(0, missing_bytes) for missing_bytes in self._disk_bytes.values()))

    def _get_excess_bytes(self, after_bytes: int) -> tuple[int, int]:
        """Return by how much all stores together would be too large, and what is to be freed then.

        A part of the disk is one of the first store's.
        """
        max_size, first = self._limits.max_size, next(iter(self._disks), None)
        disk_bytes, _ = (fs.get_disk_bytes(first.path) if first else None) or (None, None)
        cap_bytes = max_size.to_bytes(disk_bytes) if max_size else None
        if cap_bytes is None or after_bytes <= cap_bytes:
            return 0, 0
        return after_bytes - cap_bytes, after_bytes - int(cap_bytes * _LOW_WATERMARK)

    def _get_shortage_bytes(self, path: str, needed_bytes: int) -> int:
        """Return how much too little would be free on the disk of a store."""
        disk = fs.get_disk_bytes(path)
        min_bytes = self._limits.min_free.to_bytes(disk[0]) if self._limits.min_free and disk else None
        if disk is None or min_bytes is None:
            return 0
        return max(0, min_bytes + needed_bytes - disk[1])
