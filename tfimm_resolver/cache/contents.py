"""What the local caches hold, with sizes and last uses: models, the hub's repositories and weights, and leftovers."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver.cache import hub_stores, tiers
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.last_use import get_last_use_s
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record
from tfimm_resolver.errors import CacheError
from tfimm_resolver.locking.owner import PARTS

log = logging.getLogger("tfimm_resolver")

MODEL, REPOSITORY, WEIGHTS = "model", "repository", "weights"
"""Kinds of entries: models, and what the hub has fetched."""

REPLACED, PARTIAL = "replaced copy", "partial download"
"""Kinds of leftovers."""

KINDS = (MODEL, REPOSITORY, WEIGHTS, PARTIAL, REPLACED)


@dataclass(frozen=True, slots=True)
class Item:
    """Something in a store that can be removed.

    Attributes:
        name: of the directory in the root.
        kind: one of ``KINDS``.
        size_bytes: what its removal frees, roughly.
        used_s: its last use, in seconds since 1970, by the clock of the disk.
        record: of an entry; without a handle for a leftover.
        store: the store that holds it.
    """

    name: str
    kind: str
    size_bytes: int
    used_s: float
    record: Record
    store: LocalStore = field(repr=False, compare=False)

    @property
    def entry_name(self) -> str:
        return self.name.partition(".")[0]

    @property
    def is_entry(self) -> bool:
        """Whether it is in use by the name of its entry, and not a leftover."""
        return self.kind not in (REPLACED, PARTIAL)


class LocalStore:
    """A cache in a local directory: the models, or the repositories or weights of the hub."""

    def __init__(self, cache: Cache, kind: str) -> None:
        assert isinstance(cache.root, LocalRoot)
        self.cache, self.kind, self.root, self.path = cache, kind, cache.root, cache.root.path
        self.cleaner = self.root.cleaner

    def list_names(self) -> set[str]:
        return set(self.root.list_names())

    def list_items(self, names: set[str]) -> Iterator[Item]:
        """Yield the entries and leftovers, given the names in the root."""
        pattern = self.root.entry_pattern
        trees = {name: found[1] for name in names if (found := pattern.fullmatch(name))}
        current = {entry: self.cache.read_record(entry) for entry in set(trees.values()) if self.is_entry(entry, names)}
        for tree, entry in trees.items():
            record = current.get(entry)
            if record is None:
                continue
            with contextlib.suppress(OSError):  # removed meanwhile
                if record.tree == tree:
                    is_measured = record.files is None or os.path.islink(self.path_of(tree))
                    size_bytes = self.measure(tree)[0] if is_measured else record.size_bytes
                    yield Item(tree, self.kind, size_bytes, get_last_use_s(self.path_of(tree)), record, self)
                else:
                    size_bytes = self.measure(tree)[0]
                    yield Item(tree, REPLACED, size_bytes, get_last_use_s(self.path_of(tree)), Record("", tree), self)
        for name in names:
            entry, _, rest = name.partition(".")
            if rest.startswith(PARTS) and pattern.fullmatch(entry):
                with contextlib.suppress(OSError):
                    yield Item(name, PARTIAL, *self.measure(name), Record("", name), self)

    def is_entry(self, name: str, names: set[str]) -> bool:
        """Whether a directory is an entry: in the hub a user's own directory may have a name like one, but has no record."""
        return self.kind == MODEL or name + DESCRIPTOR_SUFFIX in names

    def path_of(self, name: str) -> str:
        return f"{self.path}/{name}"

    def get_disk(self) -> int:
        """Return the number of the disk that holds the store; 0 if the store does not exist."""
        with contextlib.suppress(OSError):
            return os.stat(self.path).st_dev
        return 0

    def measure(self, name: str) -> tuple[int, float]:
        """Return the total size of the files below a directory, and the time of the newest; a link to one has no size."""
        path, size_bytes = self.path_of(name), 0
        newest_s = os.stat(path).st_mtime
        if os.path.islink(path):
            return 0, newest_s
        for file in fs.walk(path):
            with contextlib.suppress(OSError):
                status = os.lstat(f"{path}/{file}")
                size_bytes, newest_s = size_bytes + status.st_size, max(newest_s, status.st_mtime)
        return size_bytes, newest_s


def open_stores() -> list[LocalStore]:
    """Open every local store that is configured: the cache, unless it is a bucket, then those of the hub if they exist."""
    cache = tiers.open_cache()
    stores = [LocalStore(cache, MODEL)] if isinstance(cache.root, LocalRoot) else []
    return [*stores, *open_hub_stores()]


def open_hub_stores() -> list[LocalStore]:
    """Open the stores of the hub that exist; one that other users may have written to is skipped with a warning."""
    try:
        directory = settings.hub_root().value
    except CacheError:  # no home directory
        return []
    if settings.is_bucket(directory) or not os.path.isdir(directory):
        return []
    try:
        return [
            LocalStore(hub_stores.open_repositories(), REPOSITORY),
            LocalStore(hub_stores.open_weights(), WEIGHTS),
        ]
    except CacheError as error:
        log.warning("skipped: %s", error.text)
        return []
