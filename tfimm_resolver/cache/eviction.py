"""Evicts from the local stores: the least recently used first, never what is in use, kept, or was used lately.

Nothing is evicted unless a limit is set. Other processes do not wait: a directory is renamed under its locks, which takes as
long as a system call, and deleted afterwards.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.text import format_size
from tfimm_resolver.cache import counters, keeping
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.contents import PARTIAL, Item, LocalStore, open_stores
from tfimm_resolver.cache.eviction_goals import Goals
from tfimm_resolver.cache.last_use import allow_exact_access_times, get_last_use_s
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX
from tfimm_resolver.errors import CacheError, ResolverError
from tfimm_resolver.errors.os_errors import is_disk_full
from tfimm_resolver.locking import use_lock
from tfimm_resolver.locking.lock import try_acquire
from tfimm_resolver.progress.events import emit
from tfimm_resolver.settings.limits import CacheLimits

log = logging.getLogger("tfimm_resolver")

IN_USE, USED_LATELY, PROTECTED, UNRECORDED = "in use", "used lately", "protected", "without a record"


@dataclass(frozen=True, slots=True)
class Eviction:
    """What is removed, or would be.

    Attributes:
        items: all that was found.
        removed: in the order of removal.
        spared: for each reason, how many items it has protected.
        missing_bytes: by how much the limits are exceeded afterwards.
    """

    items: tuple[Item, ...] = ()
    removed: tuple[Item, ...] = ()
    spared: Counter[str] = field(default_factory=Counter)
    missing_bytes: int = 0

    @property
    def before_bytes(self) -> int:
        """The size of the cache before."""
        return sum(item.size_bytes for item in self.items)

    @property
    def freed_bytes(self) -> int:
        return sum(item.size_bytes for item in self.removed)


@dataclass(frozen=True, slots=True)
class _Scan:
    """What was found in a store: its names, the time of its disk, and the entries that are protected."""

    names: set[str]
    now_s: float
    protected: set[str]
    projects: set[str]


class Evictor:
    """Evicts from the given stores; ``protected`` names entries that are not evicted besides those marked so.

    Models that a project's models file names are spared, unless the eviction ``is_requested``: then they go last.
    """

    def __init__(
        self, stores: Sequence[LocalStore], limits: CacheLimits, protected: Collection[str] = (), *, is_requested: bool = False
    ) -> None:
        self._stores, self._limits = stores, limits
        self._protected, self._is_requested = set(protected), is_requested
        self._scans: dict[LocalStore, _Scan] = {}
        self._goals: Goals | None = None

    def plan(
        self, needed_bytes: int = 0, *, freed_bytes_min: int = 0, disk: int | None = None, all_unfinished: bool = False
    ) -> Eviction:
        """Return what ``evict`` removes now, without removing anything.

        Args:
            needed_bytes: what is about to be added.
            freed_bytes_min: what has to be freed on that disk, whatever the limits say.
            disk: where it is added; by default, that of the first store.
            all_unfinished: whether partial downloads and replaced copies go also if no limit asks for it.
        """
        self._scans = {store: self._scan(store, names) for store in self._stores if (names := store.list_names())}
        items = [item for store, scan in self._scans.items() for item in store.list_items(scan.names)]
        items.sort(key=self._get_order)
        goals = Goals(self._stores, items, self._limits, needed_bytes, freed_bytes_min, disk)
        removed, spared = [], Counter[str]()
        for item in items:
            is_leftover = all_unfinished and not item.is_entry
            if not (goals.include(item) or self._is_aged(item) or is_leftover):
                continue
            if reason := self._find_reason_to_spare(item):
                spared[reason] += 1
            else:
                removed.append(item)
                goals.subtract(item)
        self._goals = goals
        return Eviction(tuple(items), tuple(removed), spared, goals.missing_bytes)

    def evict(self, planned: Eviction) -> Eviction:
        """Remove what ``plan`` has returned; return what was removed. What is in use by now, or was fetched again, stays."""
        assert self._goals is not None, "plan comes first"
        removed, spared = [], Counter(planned.spared)
        self._allow_exact_access_times()
        for item in planned.removed:
            if _try_remove(item):
                removed.append(item)
                emit("evict", path=item.store.path_of(item.name), kind=item.kind, size_bytes=item.size_bytes)
                counters.add(item.store.path, evicted_bytes=item.size_bytes)
            else:
                spared[IN_USE] += 1
                self._goals.restore(item)
        return replace(planned, removed=tuple(removed), spared=spared, missing_bytes=self._goals.missing_bytes)

    def _scan(self, store: LocalStore, names: set[str]) -> _Scan:
        now_s = store.cleaner.get_time_s()
        projects = keeping.list_project_entries(store.root, names, now_s)
        return _Scan(names, now_s, self._protected | keeping.list_protected(names), projects)

    def _allow_exact_access_times(self) -> None:
        """Have the disks note each entry's next read, so that the next decision knows of it."""
        for store, scan in self._scans.items():
            for name in scan.names:
                if store.root.entry_pattern.fullmatch(name):
                    allow_exact_access_times(store.path_of(name))

    def _get_order(self, item: Item) -> tuple[bool, bool, float]:
        return item.is_entry, item.entry_name in self._scans[item.store].projects, item.used_s

    def _is_aged(self, item: Item) -> bool:
        return self._limits.max_age_s is not None and self._get_age_s(item) > self._limits.max_age_s

    def _get_age_s(self, item: Item) -> float:
        return self._scans[item.store].now_s - item.used_s

    def _find_reason_to_spare(self, item: Item) -> str:
        """Return why an item is not removed; empty if it can be."""
        scan = self._scans[item.store]
        if item.is_entry and item.entry_name in scan.protected:
            return PROTECTED
        if item.is_entry and item.entry_name in scan.projects and not self._is_requested:
            return PROTECTED
        if item.is_entry and item.record.files is None:
            return UNRECORDED
        if item.kind == PARTIAL and f"{item.entry_name}.lock" in scan.names:  # it is running, or may be resumed at any time
            return IN_USE
        if self._was_used_lately(item, has_locks=True):
            return USED_LATELY
        return "" if item.kind == PARTIAL else self._find_user(item)

    def _find_user(self, item: Item) -> str:
        try:
            exclusion = use_lock.try_exclude(item.store.path_of(item.name))
        except OSError:
            return IN_USE
        if exclusion is None:
            return IN_USE
        with exclusion:
            is_recent = not exclusion.is_enforced and self._was_used_lately(item, has_locks=False)
        return USED_LATELY if is_recent else ""

    def _was_used_lately(self, item: Item, *, has_locks: bool) -> bool:
        return self._get_age_s(item) < settings.grace_s(has_locks=has_locks)


def _try_remove(item: Item) -> bool:
    """Remove an item unless it is in use; return whether that was done. Its space is freed after the locks were released."""
    try:
        with contextlib.ExitStack() as stack:
            if not _try_lock_entry(stack, item.store.path_of(f"{item.entry_name}.lock")):
                return False
            trash = _move_to_trash(item)
        if trash is None:
            return False
        item.store.cleaner.empty_trash(trash)
    except (OSError, CacheError):  # it is left as it is
        return False
    return True


def _try_lock_entry(stack: contextlib.ExitStack, path: str) -> bool:
    """Take the lock of an entry without waiting; return whether nothing else has it."""
    try:
        lock = try_acquire(path) or try_acquire(path)  # the first call removes the file of a dead process
    except OSError as error:
        # A full disk has no room for a lock file either, and no other process can take this lock.
        return is_disk_full(error) and not os.path.lexists(path)
    if lock is not None:
        stack.callback(lock.release)
    return lock is not None


def _move_to_trash(item: Item) -> str | None:
    """Rename what is to be removed, under the lock of its entry, unless that has changed; None if it is spared."""
    cleaner, path = item.store.cleaner, item.store.path_of(item.name)
    if item.kind == PARTIAL:
        return cleaner.move_to_trash(item.name)
    is_current = item.store.cache.read_record(item.entry_name).tree == item.name
    if is_current != item.is_entry:
        return None
    exclusion = use_lock.try_exclude(path)
    if exclusion is None:
        return None
    with exclusion:
        if not cleaner.is_removable(item.name):
            return None
        if get_last_use_s(path) > item.used_s:  # last, since without locks nothing else protects a new user
            return None
        trash = cleaner.move_to_trash(item.name)
        if item.is_entry:
            cleaner.remove(item.entry_name + DESCRIPTOR_SUFFIX)
    return trash


def enforce_limits(cache: Cache, *, needed_bytes: int = 0, freed_bytes_min: int = 0) -> int:
    """Evict until the limits that are set hold, or nothing more may be evicted; return the bytes that were freed.

    ``cache`` is where bytes are needed. Without a limit, and if it is in a bucket, nothing is evicted. A failure is logged: it
    does not concern the model that is fetched.
    """
    try:
        limits = settings.cache_limits()
        if not limits.is_limited or "://" in cache.root.path_of(""):
            return 0
        disk = os.stat(cache.root.path_of("")).st_dev
        evictor = Evictor(open_stores(), limits)
        done = evictor.evict(evictor.plan(needed_bytes, freed_bytes_min=freed_bytes_min, disk=disk))
    except FileNotFoundError:  # nothing is cached yet
        return 0
    except (OSError, ResolverError) as error:
        log.warning("no model was evicted: %s", show(error))
        return 0
    for item in done.removed:
        log.info("evicted %s, %s", show(item.record.handle or item.name), format_size(item.size_bytes))
    if done.missing_bytes:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(done.spared.items()))
        log.warning("the cache stays %s over its limit: %s", format_size(done.missing_bytes), reasons or "nothing is left")
    return done.freed_bytes
