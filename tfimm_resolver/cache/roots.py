"""Where a cache may live: one file a kind of root."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from tfimm_resolver import settings
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.record import Record
from tfimm_resolver.errors import CacheError

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.cache.bucket_root import BucketRoot, Staging

__all__ = ["LocalRoot", "Root", "open_bucket", "open_root", "serves"]

_BUCKETS = ("gs", "s3", "memory")


class Root(Protocol):
    """A flat place for trees (directories of model files) and texts (small files), in the service of a cache.

    One promise carries the whole cache: ``write`` is all or nothing. ``lock`` only spares double work.
    Whatever belongs to a key has a name that begins with the key's name and a dot.
    """

    @property
    def trees(self) -> re.Pattern[str]:
        """What the names of trees look like: the name of a key, then perhaps what tells one of its trees from another."""

    def locate(self, name: str) -> str:
        """The path of a tree, as TensorFlow reads it."""

    def fault(self, record: Record) -> str | None:
        """Why the tree of the record is not whole, or None."""

    def hash_faults(self, known: Record) -> Iterator[str]:
        """Every file of the record's tree that is not as recorded; reads all of them."""

    def read(self, name: str) -> str | None:
        """A text, or None."""

    def write(self, name: str, text: str) -> None:
        """Put a text there, whole or not at all."""

    def names(self) -> list[str]:
        """Every text that lies here, and every tree that may be one without a record."""

    def each(self, read: Callable[[str], Record], names: Iterable[str]) -> Iterable[Record]:
        """What ``read`` gives for every name, in their order, as many at once as is good here."""

    def lock(
        self, name: str, what: str = "", is_needless: Callable[[], bool] = lambda: False
    ) -> AbstractContextManager[Path | None]:
        """Wait for, then hold, the right to fill ``name``; gives an empty local directory, removed at exit.

        A person who waits long is told for ``what``. Who finds that the lock has become needless gets None, and not the lock.

        Raises:
            LockTimeoutError: if a holder of whom nothing is known gave no sign of life for too long.
        """

    def parts(self, name: str) -> Path:
        """The place, not made yet, of a local directory for an unfinished download: it outlives the lock of ``name``.

        Only who holds that lock may use it.
        """

    def publish(self, staged: Path, new: Record, known: Record) -> Record:
        """Put a filled directory where the record ``new`` says, and give that record with the name of its tree.

        ``known`` is what the record said before: who reads its tree is not disturbed, and if it is whole and the same,
        it stays. Not seen before the record is written.
        """

    def tidy(self, tree_of: Callable[[str], str]) -> None:
        """Remove trees that were replaced long ago; ``tree_of`` tells which one the record of a name names."""

    def remove(self, name: str) -> None:
        """Remove all that belongs to a name, for one who holds its lock."""


def open_root(place: str, mode: int = 0o777) -> Root:
    """The root at a path; ``mode`` is what its directory is made with.

    Raises:
        CacheError: if no kind of root serves such a place.
    """
    if not settings.is_bucket(place):
        return LocalRoot(place, mode)
    here = settings.local_root()
    return open_bucket(place, LocalRoot(here.value, here.mode))


def open_bucket(place: str, staging: Staging) -> BucketRoot:
    """The root in a bucket, whose models are unpacked in ``staging`` before they go up; raises as ``open_root`` does."""
    if place.partition("://")[0] not in _BUCKETS:
        fix = "Set TFHUB_CACHE_DIR to a local directory, or to one of gs:// or s3://."
        raise CacheError(f"a cache cannot live at {place}", fix=fix)
    from tfimm_resolver.cache.bucket_root import BucketRoot

    return BucketRoot(place, staging)


def serves(place: str) -> bool:
    """Whether some kind of root can live there, as far as what is installed tells."""
    if not settings.is_bucket(place):
        return True
    return place.partition("://")[0] in _BUCKETS and importlib.util.find_spec("obstore") is not None
