"""A cache root in a bucket: without atomic rename and flock, so the record names the one valid prefix of an entry."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tfimm_resolver import settings
from tfimm_resolver._util import clock
from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.thread_pool import DaemonThreadPool
from tfimm_resolver.archives.member_policy import join_safely, safe_parts
from tfimm_resolver.cache import bucket_lease
from tfimm_resolver.cache.bucket_lease import LEASE_SUFFIX
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, ENTRY_DIR_PATTERN, KEEP_SUFFIX, Record, decode_record
from tfimm_resolver.errors import CacheError, FetchError, NotFoundError, OfflineError
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.object_store.client import MAX_CONCURRENT_REQUESTS, ObjectInfo, ObjectStoreClient

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

_GC_MIN_AGE_S = 24 * 3600.0
"""Seconds after which a prefix that no record names is assumed to be no longer uploaded or read."""

_LAST_GC_MARKER = "tfimm_resolver.tidied"
"""An object in the root, written by the last garbage collection: its age is the time since then."""

_SUPERSEDED_MARKER = ".replaced"
"""An object below a prefix, written when its record stopped naming it; the model's objects may be much older."""

_CHECK_INTERVAL_S = 0.5


class Staging(Protocol):
    """A local directory in which a model is unpacked before its upload, under a lock on this machine."""

    def lock(
        self, name: str, what: str = "", is_already_done: Callable[[], bool] = lambda: False
    ) -> AbstractContextManager[Path | None]: ...

    def parts_dir(self, name: str) -> Path: ...


@dataclass(frozen=True, slots=True)
class PreparedStaging:
    """Staging directories of a caller that already holds the lock on this machine."""

    into: Path
    parts: Path

    @contextlib.contextmanager
    def lock(self, name: str, what: str = "", is_already_done: Callable[[], bool] = lambda: False) -> Iterator[Path | None]:
        yield self.into

    def parts_dir(self, name: str) -> Path:
        return self.parts


@dataclass(frozen=True, slots=True)
class UnusedPrefix:
    """A prefix that no record names now.

    Attributes:
        unused_s: since when, in seconds since 1970 by the clock of the store.
        objects: the names of its objects.
    """

    tree: str
    size_bytes: int
    unused_s: float
    objects: tuple[str, ...]


class BucketRoot:
    """Entries are prefixes that contain their archive's hash, texts are objects, and ``lock`` adds a lease to a local lock.

    The objects under a prefix are complete before a record names it, and never change afterwards. A warm look-up is one
    request, for the record, which is trusted; ``verify_hashes`` reads the objects that it names.
    """

    entry_pattern = ENTRY_DIR_PATTERN

    def __init__(self, url: str, staging: Staging) -> None:
        self.url = url
        self.objects = ObjectStoreClient(url)
        self._staging = staging

    def path_of(self, name: str) -> str:
        return f"{self.url}/{name}"

    def find_defect(self, known: Record) -> str | None:
        return None if known.files is not None else "it has no record written by this package"

    def verify_hashes(self, known: Record) -> Iterator[str]:
        with self._map_errors("read"):
            tree = ObjectStoreClient(self.path_of(known.tree))
            present = {found.name: found for found in tree.list_objects()}
            readable = []
            for file in known.files or ():
                found = present.get(file.path)
                if found is None:
                    yield f"{file.path} is missing"
                elif found.size_bytes != file.size_bytes:
                    yield f"{file.path} has {found.size_bytes} bytes, should have {file.size_bytes}"
                else:
                    readable.append((found, file.sha256))
            streams = tree.stream_objects((found for found, _ in readable), settings.connections())
            for (found, chunks), (_, sha256) in zip(streams, readable, strict=True):
                digest = hashlib.sha256()
                for chunk in chunks:
                    digest.update(chunk)
                if digest.hexdigest() != sha256:
                    yield f"{found.name} does not match its recorded sha256"

    def read(self, name: str) -> str | None:
        with self._map_errors("read"):
            found = self.objects.read(name)
        return None if found is None else decode_record(found[0])

    def write(self, name: str, text: str) -> None:
        with self._map_errors("write"):
            self.objects.write(name, text.encode("utf-8", "backslashreplace"))

    def list_names(self) -> list[str]:
        with self._map_errors("read"):
            # Prefixes are left out: they are not models until a record names them.
            return [found.name for found in self.objects.list_top_level()[1] if found.name != _LAST_GC_MARKER]

    def map_names(self, read: Callable[[str], Record], names: Iterable[str]) -> Iterable[Record]:
        with DaemonThreadPool(MAX_CONCURRENT_REQUESTS) as pool:
            for pending in [pool.submit(read, name) for name in names]:
                yield pending.result()

    @contextlib.contextmanager
    def lock(self, name: str, what: str = "", is_already_done: Callable[[], bool] = lambda: False) -> Iterator[Path | None]:
        with contextlib.ExitStack() as stack:
            staged = stack.enter_context(self._staging.lock(name, what, _RateLimitedCheck(is_already_done)))
            if staged is not None and not is_already_done():
                with self._map_errors("write"):
                    touch = functools.partial(_touch_heartbeat, staged)
                    has_lease = stack.enter_context(bucket_lease.hold_lease(self.objects, name, what, is_already_done, touch))
                staged = staged if has_lease else None
            else:
                staged = None
            yield staged

    def parts_dir(self, name: str) -> Path:
        return self._staging.parts_dir(name)

    def publish(self, staged: Path, new: Record, known: Record) -> Record:
        files = new.files or ()
        if known.files == files and not any(self.verify_hashes(known)):
            return new._replace(tree=known.tree)
        new = new._replace(tree=f"{new.tree}.{new.origin.sha256 or _sha256(files)}-{os.urandom(4).hex()}")
        with self._map_errors("write"):
            self.objects.upload({join_safely(new.tree, file.path): staged.joinpath(*safe_parts(file.path)) for file in files})
            self._verify_upload(new.tree, files)
            if known.handle:  # it is replaced from now on, and may still be read
                self.objects.write(f"{known.tree}/{_SUPERSEDED_MARKER}", b"")
        return new

    def withdraw(self, tree: str) -> None:
        pass  # garbage collection removes it: other machines may be uploading to this store

    def collect_garbage(self, tree_of: Callable[[str], str]) -> None:
        with contextlib.suppress(FetchError, CacheError):  # left for a later run
            if self._is_gc_due():
                self.remove_unused(tree_of)

    def remove_unused(self, tree_of: Callable[[str], str], *, dry_run: bool = False) -> list[UnusedPrefix]:
        """Remove and return prefixes that no record has named for the grace time; with ``dry_run``, only return them.

        Raises:
            CacheError: if the bucket cannot be read or written.
        """
        with self._map_errors("write"):
            marker = f"tfimm_resolver.time-{os.urandom(4).hex()}" if dry_run else _LAST_GC_MARKER
            self.objects.write(marker, b"")
            folders, objects = self.objects.list_top_level()
            # The time by the store's clock, which has just stamped the marker; this machine's may be days ahead.
            now_s = max(found.modified_s for found in objects)
            unused = list(
                filter(None, (self._find_unused(tree, now_s) for tree in _list_other_trees(folders, objects, tree_of)))
            )
            if dry_run:
                self.objects.delete([marker])
            else:
                for prefix in unused:
                    self.objects.delete(prefix.objects)
                before_s = now_s - _GC_MIN_AGE_S
                self.objects.delete(
                    found.name for found in objects if found.name.endswith(LEASE_SUFFIX) and found.modified_s < before_s
                )
        return unused

    def remove(self, name: str, *, force: bool = False) -> None:
        with self._map_errors("write"):
            folders = [found for folder in self.objects.list_top_level()[0] if (found := ENTRY_DIR_PATTERN.fullmatch(folder))]
            trees = [(found[0], bool(found[2])) for found in folders if found[1] == name]
            # Nothing tells whether a process reads the objects, so they stay for the grace time. Without a suffix the prefix
            # itself is the model for plain tensorflow_hub, which would go on using it.
            readable = [tree for tree, has_suffix in trees if has_suffix and not force]
            for tree in readable:
                self.objects.write(f"{tree}/{_SUPERSEDED_MARKER}", b"")
            self.objects.delete([name + DESCRIPTOR_SUFFIX, name + KEEP_SUFFIX])  # first, so that no new reader starts
            for tree, _ in trees:
                if tree not in readable:
                    self.objects.delete(found.name for found in self.objects.list_objects(tree))

    def _is_gc_due(self) -> bool:
        """Whether garbage collection is due: once a day, because it takes requests for every model."""
        with contextlib.suppress(NotFoundError):
            return self.objects.get_info(_LAST_GC_MARKER).modified_s <= clock.get_time_s() - _GC_MIN_AGE_S
        return True

    def _find_unused(self, tree: str, now_s: float) -> UnusedPrefix | None:
        """Return a prefix that no record names, if its objects are no longer read or uploaded."""
        inside = list(self.objects.list_objects(tree))
        superseded = [found.modified_s for found in inside if found.name.endswith(f"/{_SUPERSEDED_MARKER}")]
        # Without the marker it may be an upload that has not been recorded yet, which takes as long as it takes.
        max_age_s = settings.grace_s(has_locks=False) if superseded else _GC_MIN_AGE_S
        newest_s = max(superseded or (found.modified_s for found in inside), default=now_s)
        if newest_s > now_s - max_age_s:
            return None
        return UnusedPrefix(tree, sum(found.size_bytes for found in inside), newest_s, tuple(found.name for found in inside))

    def _verify_upload(self, tree: str, files: tuple[FileEntry, ...]) -> None:
        """Raise FetchError if the bucket does not hold exactly what was uploaded."""
        present = {found.name: found.size_bytes for found in self.objects.list_objects(tree)}
        expected = {join_safely(tree, file.path): file.size_bytes for file in files}
        if present != expected:
            raise FetchError(
                f"{self.url}/{show(tree)} holds {len(present)} objects instead of the {len(expected)} that were uploaded",
                fix="Try again; another program may be removing objects below this prefix.",
            )

    @contextlib.contextmanager
    def _map_errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except OfflineError:
            raise
        except FetchError as error:
            raise CacheError(f"cannot {action} the cache at {show(self.url)}: {error.text}", fix=error.advice) from error


class _RateLimitedCheck:
    """A check that costs a request, made once per interval at most while waiting for the lock on this machine."""

    def __init__(self, check: Callable[[], bool]) -> None:
        self._check_now, self._checked_s = check, clock.get_monotonic_s()

    def __call__(self) -> bool:
        if clock.get_monotonic_s() - self._checked_s < _CHECK_INTERVAL_S:
            return False
        answer = self._check_now()
        self._checked_s = clock.get_monotonic_s()
        return answer


def _list_other_trees(folders: Iterable[str], objects: Sequence[ObjectInfo], tree_of: Callable[[str], str]) -> Iterator[str]:
    """Yield the prefixes of a root that the record of their entry does not name."""
    records = {found.name.removesuffix(DESCRIPTOR_SUFFIX) for found in objects if found.name.endswith(DESCRIPTOR_SUFFIX)}
    # Prefixes without a suffix were put there by tensorflow_hub.
    trees = [found for folder in folders if (found := ENTRY_DIR_PATTERN.fullmatch(folder)) and found[2]]
    dir_count = Counter(found[1] for found in trees)
    for found in trees:
        is_alone = found[1] in records and dir_count[found[1]] == 1
        if not is_alone and found[0] != tree_of(found[1]):
            yield found[0]


def _touch_heartbeat(staged: Path) -> None:
    """Update the staging directory's time, which waiters on this machine watch, while nothing is unpacked into it."""
    with contextlib.suppress(OSError):
        os.utime(staged)


def _sha256(files: tuple[FileEntry, ...]) -> str:
    """Return a hash over all files of a model, for one that was not fetched as an archive."""
    lines = "".join(f"{file.sha256} {file.size_bytes} {file.path}\n" for file in files)
    return hashlib.sha256(lines.encode("utf-8", "backslashreplace")).hexdigest()
