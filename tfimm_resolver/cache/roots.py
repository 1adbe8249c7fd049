"""The protocol of cache roots, and the functions that open one: a local directory or a bucket."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.record import Record
from tfimm_resolver.errors import CacheError

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.cache.bucket_root import Staging

__all__ = ["ROOTS", "LocalRoot", "Root", "check_scheme", "is_supported_root", "open_bucket", "open_root"]

_IN_BUCKET = ("tfimm_resolver.cache.bucket_root:BucketRoot", "obstore")

ROOTS: dict[str, tuple[str, str]] = {"gs": _IN_BUCKET, "s3": _IN_BUCKET, "memory": _IN_BUCKET}
"""For each scheme of a URL: the class of its root, called with the URL and a ``Staging``, and the package that it imports."""


class Root(Protocol):
    """A flat store of entry directories, which hold model files, and texts, which are small files such as records.

    The cache relies on one guarantee: ``write`` is atomic. ``lock`` only avoids duplicate work.
    The name of everything that belongs to an entry begins with the entry's name and a dot.
    """

    @property
    def entry_pattern(self) -> re.Pattern[str]:
        """A pattern for names of entry directories: an entry's name as group 1, then an optional suffix as group 2."""

    def path_of(self, name: str) -> str:
        """Return the path or URL of an entry directory, as TensorFlow reads it."""

    def find_defect(self, record: Record) -> str | None:
        """Return why the record's directory is incomplete, or None; does not read files."""

    def verify_hashes(self, known: Record) -> Iterator[str]:
        """Yield a message for each file of the record's directory that is not as recorded; reads all files."""

    def read(self, name: str) -> str | None:
        """Return a text, or None if it does not exist."""

    def write(self, name: str, text: str) -> None:
        """Write a text atomically."""

    def list_names(self) -> list[str]:
        """Return the names of all texts, and of all entry directories that may be valid without a record."""

    def map_names(self, read: Callable[[str], Record], names: Iterable[str]) -> Iterable[Record]:
        """Yield ``read(name)`` for each name, in order; in parallel where that is faster."""

    def lock(
        self, name: str, what: str = "", is_already_done: Callable[[], bool] = lambda: False
    ) -> AbstractContextManager[Path | None]:
        """Wait for the lock on the entry ``name`` and hold it; yields an empty local directory, which is removed at exit.

        Warnings during a long wait say ``what`` is waited for. If the work ``is_already_done`` meanwhile, yields None, without
        the lock.

        Raises:
            LockTimeoutError: if an owner was inactive for too long, and is not known to be dead.
        """

    def parts_dir(self, name: str) -> Path:
        """Return the path of a local directory for a partial download, which the caller creates; it survives the lock.

        Only the holder of the lock on ``name`` may use it.
        """

    def publish(self, staged: Path, new: Record, known: Record) -> Record:
        """Move or upload a staged directory to its place in the root; return ``new`` with the directory's final name.

        ``known`` is the previous record: its directory stays readable, and is used again if it is complete and has the same
        files. The new directory is not visible to readers until the record is written.
        """

    def withdraw(self, tree: str) -> None:
        """Remove a directory that was published, but whose record could not be written."""

    def collect_garbage(self, tree_of: Callable[[str], str]) -> None:
        """Remove entry directories that were replaced long ago; ``tree_of`` returns the one that an entry's record names."""

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove everything that belongs to the entry ``name``; the caller must hold its lock.

        Where no locks tell whether a process uses the model, it counts as used for the grace time after its last use, or after
        its removal, unless ``force``.

        Raises:
            CacheError: if another process uses the model, as far as that can be known; then nothing was removed.
        """


def open_root(location: str, mode: int = 0o777) -> Root:
    """Open the root at a path or URL; ``mode`` is the mode its directory is created with.

    Raises:
        CacheError: if the URL's scheme is not supported.
    """
    if not settings.is_bucket(location):
        return LocalRoot(location, mode)
    here = settings.local_root()
    return open_bucket(location, LocalRoot(here.value, here.mode))


def open_bucket(location: str, staging: Staging) -> Root:
    """Open the root in a bucket, whose models are unpacked in ``staging`` before upload; raises as ``open_root`` does."""
    check_scheme(location)
    import pkgutil

    name, _ = ROOTS[location.partition("://")[0]]
    root: Root = pkgutil.resolve_name(name)(location, staging)  # imported here: a local cache needs no network code
    return root


def check_scheme(location: str) -> None:
    """Raise CacheError if a location is a URL that cannot hold a root."""
    if settings.is_bucket(location) and location.partition("://")[0] not in ROOTS:
        fix = "Set TFHUB_CACHE_DIR to a local directory, or to a gs:// or s3:// URL."
        raise CacheError(f"{show(location)} cannot hold a cache: its scheme is not supported", fix=fix)


def is_supported_root(location: str) -> bool:
    """Whether the location can hold a root: a local path, or a URL whose scheme is supported and library installed."""
    if not settings.is_bucket(location):
        return True
    _, package = ROOTS.get(location.partition("://")[0], ("", ""))
    return bool(package) and importlib.util.find_spec(package) is not None
