"""Evicts models from a local root: the least recently used first, never one that is in use, kept, or was used lately.

Nothing is evicted unless a limit is set. Other processes do not wait: a model is renamed under its locks, which takes as long
as a system call, and deleted afterwards.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.text import format_size
from tfimm_resolver.cache import counters, keeping
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.last_use import allow_exact_access_times, get_last_use_s
from tfimm_resolver.cache.local_cleanup import Cleaner
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record
from tfimm_resolver.errors import CacheError, ResolverError
from tfimm_resolver.errors.os_errors import is_disk_full
from tfimm_resolver.locking import use_lock
from tfimm_resolver.locking.lock import try_acquire
from tfimm_resolver.progress.events import emit
from tfimm_resolver.settings.limits import CacheLimits, Size

log = logging.getLogger("tfimm_resolver")

MODEL, REPLACED, PARTIAL = "model", "replaced copy", "partial download"
IN_USE, USED_LATELY, PROTECTED, UNRECORDED = "in use", "used lately", "protected", "without a record"

_LOW_WATERMARK = 0.9
"""The part of the size limit that is left after an eviction, so that not every fetch has to evict."""

_PARTS_SUFFIX = ".parts"


@dataclass(frozen=True, slots=True)
class Item:
    """Something in a cache that can be removed.

    Attributes:
        name: of the directory in the root.
        kind: ``model``, ``replaced copy`` or ``partial download``.
        size_bytes: what its removal frees, roughly.
        used_s: its last use, in seconds since 1970, by the clock of the disk.
        record: of a model; without a handle for anything else.
    """

    name: str
    kind: str
    size_bytes: int
    used_s: float
    record: Record

    @property
    def entry_name(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Eviction:
    """What is removed, or would be.

    Attributes:
        removed: in the order of removal.
        spared: for each reason, how many items it has protected.
        before_bytes: the size of the cache before.
        missing_bytes: what could not be freed although a limit asks for it.
    """

    removed: tuple[Item, ...] = ()
    spared: Counter[str] = field(default_factory=Counter)
    before_bytes: int = 0
    missing_bytes: int = 0

    @property
    def freed_bytes(self) -> int:
        return sum(item.size_bytes for item in self.removed)


class Evictor:
    """Evicts from one cache in a local directory; ``protected`` names entries that are not evicted besides those marked so.

    Models that a project's models file names are spared, unless the eviction ``is_requested``: then they go last.
    """

    def __init__(
        self, cache: Cache, limits: CacheLimits, protected: Collection[str] = (), *, is_requested: bool = False
    ) -> None:
        assert isinstance(cache.root, LocalRoot)
        self._cache, self._root, self._limits, self._path = cache, cache.root, limits, cache.root.path
        self._protected, self._is_requested, self._projects = set(protected), is_requested, set[str]()
        self._cleaner = Cleaner(self._path, cache.root.entry_pattern)
        self._now_s = 0.0

    def plan(self, needed_bytes: int = 0, *, freed_bytes_min: int = 0, all_unfinished: bool = False) -> Eviction:
        """Return what ``evict`` removes now, without removing anything.

        Args:
            needed_bytes: what is about to be added.
            freed_bytes_min: what has to be freed, whatever the limits say.
            all_unfinished: whether partial downloads and replaced copies go also if no limit asks for it.
        """
        names = set(self._cache.root.list_names())
        if not names:
            return Eviction()
        self._now_s = self._cleaner.get_time_s()
        self._protected |= keeping.list_protected(names)
        self._projects = keeping.list_project_entries(self._root, names, self._now_s)
        items = sorted(self._list_items(names), key=self._get_order)
        total_bytes = sum(item.size_bytes for item in items)
        goal_bytes = max(freed_bytes_min, self._get_excess_bytes(total_bytes, needed_bytes))
        removed, spared, freed_bytes = [], Counter[str](), 0
        for item in items:
            if not (freed_bytes < goal_bytes or self._is_aged(item) or (all_unfinished and item.kind != MODEL)):
                continue
            if reason := self._find_reason_to_spare(item, names):
                spared[reason] += 1
                continue
            removed.append(item)
            freed_bytes += item.size_bytes
        return Eviction(tuple(removed), spared, total_bytes, max(0, goal_bytes - freed_bytes))

    def evict(self, planned: Eviction) -> Eviction:
        """Remove what was planned; return what was removed. A model that is in use by now, or was fetched again, stays."""
        removed, spared = [], Counter(planned.spared)
        self._allow_exact_access_times()
        for item in planned.removed:
            reason = IN_USE
            with contextlib.suppress(OSError, CacheError):  # it is left as it is
                reason = self._remove(item)
            if reason:
                spared[reason] += 1
            else:
                removed.append(item)
                emit("evict", path=self._cleaner.path_of(item.name), kind=item.kind, size_bytes=item.size_bytes)
        freed_bytes = sum(item.size_bytes for item in removed)
        if freed_bytes:
            counters.add(self._path, evicted_bytes=freed_bytes)
        missing_bytes = planned.missing_bytes + planned.freed_bytes - freed_bytes
        return replace(planned, removed=tuple(removed), spared=spared, missing_bytes=missing_bytes)

    def _allow_exact_access_times(self) -> None:
        """Have the disk note each model's next read, so that the next decision knows of it."""
        for name in self._cache.root.list_names():
            if self._cache.root.entry_pattern.fullmatch(name):
                allow_exact_access_times(self._cleaner.path_of(name))

    def _get_order(self, item: Item) -> tuple[bool, bool, float]:
        return item.kind == MODEL, item.entry_name in self._projects, item.used_s

    def _list_items(self, names: set[str]) -> Iterator[Item]:
        pattern = self._cache.root.entry_pattern
        trees = {name: found[1] for name in names if (found := pattern.fullmatch(name))}
        current = {entry: self._cache.read_record(entry) for entry in set(trees.values())}
        for tree, entry in trees.items():
            record = current[entry]
            with contextlib.suppress(OSError):  # removed meanwhile
                if record.tree == tree:
                    size_bytes = record.size_bytes if record.files is not None else self._measure(tree)[0]
                    yield Item(tree, MODEL, size_bytes, self._get_used_s(tree), record)
                else:
                    yield Item(tree, REPLACED, self._measure(tree)[0], self._get_used_s(tree), Record("", tree))
        for name in names:
            entry, _, rest = name.partition(".")
            if f".{rest}".startswith(_PARTS_SUFFIX) and pattern.fullmatch(entry):
                with contextlib.suppress(OSError):
                    yield Item(name, PARTIAL, *self._measure(name), Record("", name))

    def _get_excess_bytes(self, total_bytes: int, needed_bytes: int) -> int:
        """Return how many bytes have to be freed, so that the limits hold after ``needed_bytes`` were added."""
        disk_bytes, free_bytes = fs.get_disk_bytes(self._path) or (0, 0)
        max_size, min_free, excess_bytes = self._limits.max_size, self._limits.min_free, 0
        if max_size is not None and (disk_bytes or not max_size.fraction):  # a part of an unknown size is not a limit
            cap_bytes = max_size.to_bytes(disk_bytes)
            if total_bytes + needed_bytes > cap_bytes:
                excess_bytes = total_bytes + needed_bytes - int(cap_bytes * _LOW_WATERMARK)
        if min_free is not None and disk_bytes:
            excess_bytes = max(excess_bytes, min_free.to_bytes(disk_bytes) + needed_bytes - free_bytes)
        return min(excess_bytes, total_bytes)

    def _is_aged(self, item: Item) -> bool:
        return self._limits.max_age_s is not None and self._now_s - item.used_s > self._limits.max_age_s

    def _find_reason_to_spare(self, item: Item, names: set[str]) -> str:
        """Return why an item is not removed; empty if it can be."""
        if item.kind == PARTIAL:
            is_locked = item.entry_name + ".lock" in names  # its download is running, or may be resumed at any time
            return IN_USE if is_locked else USED_LATELY if self._was_used_lately(item, has_locks=True) else ""
        if item.kind == MODEL:
            if item.entry_name in self._protected or (item.entry_name in self._projects and not self._is_requested):
                return PROTECTED
            if item.record.files is None:
                return UNRECORDED
        if self._was_used_lately(item, has_locks=True):
            return USED_LATELY
        return self._find_user(item)

    def _find_user(self, item: Item) -> str:
        try:
            exclusion = use_lock.try_exclude(self._cleaner.path_of(item.name))
        except OSError:
            return IN_USE
        if exclusion is None:
            return IN_USE
        with exclusion:
            is_recent = not exclusion.is_enforced and self._was_used_lately(item, has_locks=False)
        return USED_LATELY if is_recent else ""

    def _remove(self, item: Item) -> str:
        """Remove an item; return why it was spared, or nothing. Its space is freed after the locks were released."""
        with contextlib.ExitStack() as stack:
            if not self._try_lock_entry(stack, item.entry_name):
                return IN_USE
            trash = self._move_to_trash(item)
        if trash is None:
            return IN_USE
        self._cleaner.empty_trash(trash)
        return ""

    def _try_lock_entry(self, stack: contextlib.ExitStack, entry_name: str) -> bool:
        """Take the lock of an entry without waiting; return whether nothing else has it."""
        path = self._cleaner.path_of(f"{entry_name}.lock")
        try:
            lock = try_acquire(path) or try_acquire(path)  # the first call removes the file of a dead process
        except OSError as error:
            # A full disk has no room for a lock file either, and no other process can take this lock.
            return is_disk_full(error) and not os.path.lexists(path)
        if lock is not None:
            stack.callback(lock.release)
        return lock is not None

    def _move_to_trash(self, item: Item) -> str | None:
        """Rename what is to be removed, under the lock of its entry, unless that has changed; None if it is spared."""
        if item.kind == PARTIAL:
            return self._cleaner.move_to_trash(item.name)
        is_current = self._cache.read_record(item.entry_name).tree == item.name
        if is_current != (item.kind == MODEL):
            return None
        exclusion = use_lock.try_exclude(self._cleaner.path_of(item.name))
        if exclusion is None:
            return None
        with exclusion:
            if not self._cleaner.is_removable(item.name):
                return None
            if self._get_used_s(item.name) > item.used_s:  # last, since without locks nothing else protects a new user
                return None
            trash = self._cleaner.move_to_trash(item.name)
            if item.kind == MODEL:
                self._cleaner.remove(item.entry_name + DESCRIPTOR_SUFFIX)
        return trash

    def _was_used_lately(self, item: Item, *, has_locks: bool) -> bool:
        return self._now_s - item.used_s < settings.grace_s(has_locks=has_locks)

    def _get_used_s(self, tree: str) -> float:
        return get_last_use_s(self._cleaner.path_of(tree))

    def _measure(self, name: str) -> tuple[int, float]:
        """Return the total size of the files below a directory, and the time of the newest."""
        path, size_bytes = self._cleaner.path_of(name), 0
        newest_s = os.stat(path).st_mtime
        for file in fs.walk(path):
            with contextlib.suppress(OSError):
                status = os.lstat(f"{path}/{file}")
                size_bytes, newest_s = size_bytes + status.st_size, max(newest_s, status.st_mtime)
        return size_bytes, newest_s


def enforce_limits(cache: Cache, *, needed_bytes: int = 0, freed_bytes_min: int = 0) -> int:
    """Evict until the limits that are set hold, or nothing more may be evicted; return the bytes that were freed.

    Without a limit, and in a bucket, nothing is evicted. A failure is logged: it does not concern the model that is fetched.
    """
    try:
        limits = settings.cache_limits()
        if not limits.is_limited or not isinstance(cache.root, LocalRoot):
            return 0
        evictor = Evictor(cache, limits)
        done = evictor.evict(evictor.plan(needed_bytes, freed_bytes_min=freed_bytes_min))
    except (OSError, ResolverError) as error:
        log.warning("no model was evicted: %s", show(error))
        return 0
    for item in done.removed:
        log.info("evicted %s, %s", show(item.record.handle or item.name), format_size(item.size_bytes))
    if done.missing_bytes:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(done.spared.items()))
        log.warning("the cache stays %s over its limit: %s", format_size(done.missing_bytes), reasons or "nothing is left")
    return done.freed_bytes


__all__ = ["CacheLimits", "Eviction", "Evictor", "Item", "Size", "enforce_limits"]
