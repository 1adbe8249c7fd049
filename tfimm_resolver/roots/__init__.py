"""Where a cache may live: one file a kind of root."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from tfimm_resolver.errors import CacheError
from tfimm_resolver.record import Record
from tfimm_resolver.roots.local import LocalRoot

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LocalRoot", "Root", "open_root"]


class Root(Protocol):
    """A flat place for trees (directories of model files) and texts (small files), in the service of a cache.

    One promise carries the whole cache: ``write`` is all or nothing. ``lock`` only spares double work.
    Whatever belongs to a key has a name that begins with the key's name and a dot.
    """

    def locate(self, name: str) -> str:
        """The path of a tree, as TensorFlow reads it."""

    def fault(self, record: Record) -> str | None:
        """Why the tree of the record is not whole, or None."""

    def read(self, name: str) -> str | None:
        """A text, or None."""

    def write(self, name: str, text: str) -> None:
        """Put a text there, whole or not at all."""

    def names(self) -> list[str]:
        """Everything that lies here."""

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

    def adopt(self, staged: Path, tree: str) -> bool:
        """Make a filled directory the tree; False if another process has put one there meanwhile."""

    def remove(self, name: str) -> None:
        """Remove a tree or a text at once; nothing where there is none."""

    def retire(self, tree: str) -> None:
        """Note that the tree was replaced just now, and may still be read."""

    def retired_for_s(self, tree: str) -> float:
        """Seconds since the tree was made or retired."""


def open_root(place: str, mode: int = 0o777) -> Root:
    """The root at a path; ``mode`` is what its directory is made with.

    Raises:
        CacheError: if no kind of root serves such a place.
    """
    if not serves(place):
        raise CacheError(f"a cache cannot live at {place}", fix="Set TFHUB_CACHE_DIR to a local directory.")
    return LocalRoot(place, mode)


def serves(place: str) -> bool:
    """Whether some kind of root can live there."""
    return "://" not in place
