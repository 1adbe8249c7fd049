"""Model locations, and the search of the extra roots: caches that are read before the cache root, and never written."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver.errors import CacheError, FetchError

if TYPE_CHECKING:
    from tfimm_resolver.cache.cache import Cache
    from tfimm_resolver.cache.record import Record

log = logging.getLogger("tfimm_resolver")


class ModelLocation:
    """The path of a model, and its cache record; None for a model that is not in a cache."""

    __slots__ = ("path", "record")  # not a dataclass: creating one costs half a millisecond at import

    def __init__(self, path: str, record: Record | None = None) -> None:
        self.path, self.record = path, record


def find_in_extra_roots(cache: Cache, key: str, sha256: str | None) -> ModelLocation | None:
    """Return the location of a complete model in an extra root, or None.

    Also None if ``cache`` has a copy that was fetched later, which is usually the result of a refresh.
    """
    from tfimm_resolver.cache.cache import Cache
    from tfimm_resolver.cache.roots import open_root

    for root in settings.extra_roots():
        try:
            extra = Cache(open_root(root))
            shared = extra.find(key)
        except CacheError as error:
            log.warning("skipped: %s", error.text)
            continue
        if shared is None or sha256 not in (None, shared.origin.sha256):
            continue
        own = None
        with contextlib.suppress(CacheError, FetchError):  # an unreadable cache does not hide the extra root
            own = cache.find(key)
        is_later = own is not None and own.fetched_at > shared.fetched_at and sha256 in (None, own.origin.sha256)
        return None if is_later else ModelLocation(extra.path(shared), shared)
    return None
