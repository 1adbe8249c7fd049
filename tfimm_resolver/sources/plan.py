"""What a source answers: the vocabulary between sources and the resolver."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Union

from tfimm_resolver.handles.handle import Handle

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.archives.unpacking import ArchiveLayout
    from tfimm_resolver.manifest import FileEntry, Origin


class Fetcher(Protocol):
    """Fetches what one model is made of, for a source: downloads, unpacks, compares pins, shows progress.

    Its methods raise FetchError and CacheError; ``transfer.downloader.Downloader`` implements it.

    Attributes:
        parts: where an unfinished download is kept for the next one to resume; need not exist.
        origin: where the files came from; a source that fetches them by itself sets it.
        files: what was written, with the hash of each; None where the cache is to hash the files.
    """

    parts: Path | None
    origin: Origin
    files: tuple[FileEntry, ...] | None

    def archive(self, url: str, into: Path, *, form: ArchiveLayout = ..., authorization: str = "") -> None:
        """Unpack the archive at ``url``, or of a mirror, into the empty directory ``into``."""

    def file(self, url: str, into: Path, name: str, *, authorization: str = "") -> None:
        """Download ``url`` as the one file ``name`` of the empty directory ``into``."""

    def local_archive(self, path: str, into: Path) -> None:
        """Unpack the archive at a local path."""

    def object_archive(self, place: str, into: Path) -> None:
        """Unpack the archive that is one object of a bucket."""

    def objects(self, place: str, into: Path) -> None:
        """Download every object below ``place``."""

    def see_other(self, url: str) -> str | None:
        """Return the body of a 303 answer to ``url``, not followed; None for any other answer."""

    def page(self, url: str, *, authorization: str = "") -> bytes:
        """Return the body of ``url``, of at most 64 MiB."""


@dataclass(frozen=True, slots=True)
class InPlace:
    """The model can be read where it lies: a local directory, ``gs://...``."""

    path: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """The model must be brought into the cache, under ``key``: one key is one model.

    ``fill`` is called at most once, with an empty local directory.
    """

    key: str
    fill: Callable[[Path, Fetcher], None]


@dataclass(frozen=True, slots=True)
class RemoteLocation:
    """The place itself says where the model can be read, if it can: asked at each call, over the network."""

    where: Callable[[Fetcher], str | None]
    otherwise: Fetch


@dataclass(frozen=True, slots=True)
class MutableRef:
    """The handle is of another model from time to time: the place says at each call which one it is now.

    Where it does not say, or what it says does not come, a cached model serves, with a warning.

    Attributes:
        now: gives the handle of the model that stays the same; asks over the network.
        newest: picks of such handles, those of the whole models that are cached, the one to serve; None for none.
            Where handles cannot tell it, the resolver remembers what ``now`` said last.
    """

    now: Callable[[Fetcher], str]
    newest: Callable[[Iterable[str]], str | None] | None = None


Plan = Union[InPlace, Fetch, RemoteLocation, MutableRef]
Source = Callable[[Handle], Union[Plan, None]]
"""Answers with a plan, or with None for a handle that is not its own. Knows no cache, no lock, no network."""
