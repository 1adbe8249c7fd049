"""One of the caches that are read, and where a model is in it."""

from __future__ import annotations

import logging

from tfimm_resolver import settings
from tfimm_resolver.cache import counters
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.record import Record
from tfimm_resolver.cache.roots import open_root
from tfimm_resolver.errors import CacheError
from tfimm_resolver.handles.pin import Pin
from tfimm_resolver.locking import use_lock

_TOUCHES_PER_GRACE = 4
"""How often the last use of a model is noted in the time for which it protects the model."""

log = logging.getLogger("tfimm_resolver")


class ModelLocation:
    """Where a model is.

    Attributes:
        path: the top of its tree, a path or a URL.
        record: its cache record; None for a model that is not in a cache.
        subdirectory: the directory in the tree that the handle chooses, in canonical form: ``.`` is the top; empty for no
            choice.
        is_read_only: it belongs to others: its last use is not noted.
        is_fetched: it was fetched just now, which may have taken long.
    """

    # Not a dataclass: creating one costs half a millisecond at import.
    __slots__ = ("is_fetched", "is_read_only", "path", "record", "subdirectory")

    def __init__(self, path: str, record: Record | None = None, subdirectory: str = "", *, is_read_only: bool = False) -> None:
        self.path, self.record, self.subdirectory, self.is_read_only = path, record, subdirectory, is_read_only
        self.is_fetched = False

    def hold(self, *, is_new: bool = False) -> bool:
        """Take a use lock on the tree until this process ends; return False if it no longer exists.

        Without effect on a tree in a bucket, which has no locks. ``is_new``: it was fetched just now, so that a lock on an
        earlier directory of the same name does not count.
        """
        if not is_new:
            if use_lock.is_held(self.path):
                return True
            counters.note_hit(self.path)
        if "://" in self.path:
            return True
        return use_lock.hold(self.path, settings.grace_s() / _TOUCHES_PER_GRACE, touch=not self.is_read_only)


class Tier:
    """One of the caches that are read.

    Attributes:
        location: the path or URL of its root.
        mode: the permission bits its directory is created with.
        is_read_only: it belongs to others, who may hide it or change it; its failures are logged, and it is skipped.
        is_copied: its models are copied to the next cache, since TensorFlow does not read them where they are.
    """

    __slots__ = ("is_copied", "is_read_only", "location", "mode")  # not a dataclass: each hit creates one

    def __init__(self, location: str, mode: int = 0o777, *, is_read_only: bool = False, is_copied: bool = False) -> None:
        self.location, self.mode = location, mode
        self.is_read_only, self.is_copied = is_read_only, is_copied

    @property
    def is_own(self) -> bool:
        """Whether ``resolve`` writes to it, and returns paths in it."""
        return not self.is_read_only and not self.is_copied

    def open(self) -> Cache:
        """Open the cache; raises CacheError if its kind is not supported."""
        return Cache(open_root(self.location, self.mode))

    def find(self, key: str, pin: Pin) -> ModelLocation | None:
        """Return where the complete model is, or None.

        Raises:
            IntegrityError: if the model is known not to match the pin.
            CacheError: if the cache cannot be read; also FetchError.
        """
        if not self.is_read_only:
            cache = self.open()
            return _locate(cache, cache.find(key, pin))
        try:
            cache = self.open()
            record = cache.find(key)
        except CacheError as error:
            log.warning("skipped: %s", error.text)
            return None
        if record is None or not pin.is_known_to_match(record.origin):
            return None
        pin.check_cached(record.origin, record.handle)
        return ModelLocation(cache.path(record), record, is_read_only=True)


def _locate(cache: Cache, record: Record | None) -> ModelLocation | None:
    return ModelLocation(cache.path(record), record) if record else None
