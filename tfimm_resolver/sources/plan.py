"""The plans that a source returns, and the fetcher that the resolver hands it: the interface between the two."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Union

from tfimm_resolver._util.outgoing import repr_fields
from tfimm_resolver.handles.handle import Handle

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.archives.unpacking import ArchiveLayout
    from tfimm_resolver.manifest import FileEntry, Origin


class Fetcher(Protocol):
    """Fetches one model for a source: downloads and unpacks its files, compares pins, reports progress.

    Its methods raise FetchError and CacheError; ``transfer.downloader.Downloader`` implements it.

    Attributes:
        parts: the directory of an unfinished download, for the next one to resume; need not exist.
        origin: where the files came from; set by a source that downloads them itself.
        files: the files that were written, with their hashes; None if the cache has to hash them.

    Example:
        A source is tested with any object that has the methods it calls.

        >>> from pathlib import Path
        >>> from tfimm_resolver.sources import Fetcher
        >>> def fill(into: Path, fetcher: Fetcher) -> None:
        ...     fetcher.archive("https://models.example/half_plus_two/1.tar.gz", into)
        >>> class FakeFetcher:
        ...     def archive(self, url, into, **options):
        ...         print("unpack", url)
        >>> fill(Path("model"), FakeFetcher())
        unpack https://models.example/half_plus_two/1.tar.gz
    """

    parts: Path | None
    origin: Origin
    files: tuple[FileEntry, ...] | None

    def archive(
        self, url: str, into: Path, *, layout: ArchiveLayout = ..., authorization: str = "", post_data: bytes | None = None
    ) -> None:
        """Download the archive at ``url``, or a mirror's copy, and unpack it into the empty directory ``into``.

        ``post_data`` is JSON to send by POST, for an API that is called in this way; mirrors are not asked then.
        """

    def file(self, url: str, into: Path, name: str, *, authorization: str = "") -> None:
        """Download ``url`` as the one file ``name`` of the empty directory ``into``."""

    def local_archive(self, path: str, into: Path) -> None:
        """Unpack the archive at a local path."""

    def object_archive(self, url: str, into: Path) -> None:
        """Download and unpack the archive that is the object at ``url``, ``gs://...`` or ``s3://...``."""

    def objects(self, url: str, into: Path) -> None:
        """Download every object below ``url``, ``gs://...`` or ``s3://...``."""

    def reserve(self, size_bytes: int) -> None:
        """Make room in the cache for so many bytes, if its size is limited; for a source that downloads files itself.

        The methods above do so by themselves.
        """

    def get_redirect_target(self, url: str) -> str | None:
        """Return the body of a 303 answer to ``url``, not followed; None for any other answer."""

    def get_bytes(self, url: str, *, authorization: str = "", post_data: bytes | None = None) -> bytes:
        """Return the body of ``url``, of at most 64 MiB; ``post_data`` as in ``archive``."""


@dataclass(frozen=True, slots=True)
class InPlace:
    """Serves the model from where it is: an absolute local directory, or a URL such as ``gs://...`` that TensorFlow reads.

    Example:
        >>> from tfimm_resolver.sources import Handle, InPlace
        >>> def plan(handle):
        ...     return InPlace(f"/mnt/zoo/{handle.host}")
        >>> plan(Handle.parse("zoo://lion"))
        InPlace(path='/mnt/zoo/lion')
    """

    path: str

    __repr__ = repr_fields

    @property
    def download(self) -> None:
        """What is downloaded: nothing."""
        return None


@dataclass(frozen=True, slots=True)
class Fetch:
    """Serves the model from the cache, where ``fill`` puts it if it is missing.

    Attributes:
        key: identifies the model in the cache: one key, one model.
        fill: writes the model's files into an empty local directory, with the help of a ``Fetcher``; called at most once.

    Example:
        >>> from tfimm_resolver.sources import Fetch, Handle
        >>> def plan(handle):
        ...     def fill(into, fetcher):
        ...         fetcher.archive(f"https://models.example/{handle.host}/1.tar.gz", into)
        ...     return Fetch(handle.key, fill)
        >>> plan(Handle.parse("zoo://half_plus_two")).key
        'zoo://half_plus_two'
    """

    key: str
    fill: Callable[[Path, Fetcher], None]

    __repr__ = repr_fields

    @property
    def download(self) -> Fetch:
        """What is downloaded: this."""
        return self


@dataclass(frozen=True, slots=True)
class RemoteLocation:
    """Serves the model from a remote location that TensorFlow reads directly, looked up over the network at each call.

    Attributes:
        where: returns the location, such as ``gs://...``; None if there is none.
        otherwise: the plan in that case.

    Example:
        >>> from tfimm_resolver.sources import Fetch, Handle, RemoteLocation
        >>> def plan(handle):
        ...     def where(fetcher):
        ...         return fetcher.get_redirect_target(f"https://zoo.example/{handle.host}")
        ...     def fill(into, fetcher):
        ...         fetcher.archive(f"https://zoo.example/{handle.host}.tgz", into)
        ...     return RemoteLocation(where, Fetch(handle.key, fill))
        >>> plan(Handle.parse("zoo://lion")).otherwise.key
        'zoo://lion'
    """

    where: Callable[[Fetcher], str | None]
    otherwise: Fetch

    @property
    def download(self) -> Fetch:
        """What is downloaded without a location, or if a copy on disk is needed."""
        return self.otherwise


@dataclass(frozen=True, slots=True)
class MutableRef:
    """Serves whichever model the handle stands for at the moment, as a branch or "the newest version" does.

    If that cannot be looked up, or the model cannot be fetched, a cached model is served with a warning.

    Attributes:
        now: returns the handle of a model that never changes; looks it up over the network at each call.
        newest: picks, from the handles of the complete models in the cache, the one to serve as a fallback, or None.
            Without it, the resolver falls back to what ``now`` returned last.
        local: returns the handle whose complete copy another tool has on this machine, as the last fallback, or None.

    Example:
        >>> from tfimm_resolver.sources import Handle, MutableRef
        >>> def plan(handle):
        ...     def now(fetcher):
        ...         version = fetcher.get_bytes(f"https://zoo.example/{handle.host}/newest").decode()
        ...         return f"{handle.key}/{version}"
        ...     return MutableRef(now, newest=lambda cached: max(cached, default=None))
        >>> plan(Handle.parse("zoo://lion")).newest(["zoo://lion/1", "zoo://lion/2"])
        'zoo://lion/2'
    """

    now: Callable[[Fetcher], str]
    newest: Callable[[Iterable[str]], str | None] | None = None
    local: Callable[[], str | None] | None = None

    @property
    def download(self) -> None:
        """What is downloaded: nothing, but what the handle refers to now."""
        return None


Plan = Union[InPlace, Fetch, RemoteLocation, MutableRef]
Source = Callable[[Handle], Union[Plan, None]]
"""Returns a plan, or None for a handle of another source; does not access the cache, locks or the network itself."""
