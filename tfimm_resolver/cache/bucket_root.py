"""A cache root in a bucket: no rename and no kernel's lock, so a record names the one prefix that is believed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from tfimm_resolver import settings
from tfimm_resolver._util.threads import DaemonThreadPool
from tfimm_resolver.cache import bucket_lease
from tfimm_resolver.cache.bucket_lease import LEASE_SUFFIX
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, ENTRY_DIR_PATTERN, Record
from tfimm_resolver.errors import CacheError, FetchError, NotFoundError, OfflineError
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.object_store.client import MAX_CONCURRENT_REQUESTS, ObjectStoreClient

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

_GC_MIN_AGE_S = 24 * 3600.0
"""Seconds after which a prefix that no record names is not being filled or read any more."""

_LAST_GC_MARKER = "tfimm_resolver.tidied"
"""An object in the root whose age tells when somebody last looked for what is not used any more."""

_SUPERSEDED_MARKER = ".replaced"
"""An object below a prefix, whose age tells for how long no record has named it; what was uploaded may be much older."""

_LOOK_S = 0.5


class Staging(Protocol):
    """Where a model is unpacked before it goes up: on this machine's disk, under its own lock."""

    def lock(
        self, name: str, what: str = "", is_needless: Callable[[], bool] = lambda: False
    ) -> AbstractContextManager[Path | None]: ...

    def parts(self, name: str) -> Path: ...


@dataclass(frozen=True, slots=True)
class PreparedStaging:
    """A directory, and the place of one for parts, that somebody has staged who holds the lock on this machine."""

    into: Path
    unfinished: Path

    @contextlib.contextmanager
    def lock(self, name: str, what: str = "", is_needless: Callable[[], bool] = lambda: False) -> Iterator[Path | None]:
        yield self.into

    def parts(self, name: str) -> Path:
        return self.unfinished


class BucketRoot:
    """Trees are prefixes that carry their archive's hash, texts are objects, and ``lock`` is a claim beside a local lock.

    What lies under a prefix is whole before a record names it, and never changes afterwards. A warm look-up is one request,
    for the record, which is believed; ``hash_faults`` reads what it names.
    """

    trees = ENTRY_DIR_PATTERN

    def __init__(self, place: str, staging: Staging) -> None:
        self.place = place
        self.objects = ObjectStoreClient(place)
        self._staging = staging

    def locate(self, name: str) -> str:
        return f"{self.place}/{name}"

    def fault(self, known: Record) -> str | None:
        return None if known.files is not None else "no record of this package names it"

    def hash_faults(self, known: Record) -> Iterator[str]:
        with self._telling("read"):
            tree = ObjectStoreClient(self.locate(known.tree))
            here = {found.name: found for found in tree.below()}
            readable = []
            for file in known.files or ():
                found = here.get(file.path)
                if found is None:
                    yield f"{file.path} is missing"
                elif found.size_bytes != file.size_bytes:
                    yield f"{file.path} has {found.size_bytes} bytes, should have {file.size_bytes}"
                else:
                    readable.append((found, file.sha256))
            streams = tree.streams((found for found, _ in readable), settings.connections())
            for (found, pieces), (_, sha256) in zip(streams, readable, strict=True):
                digest = hashlib.sha256()
                for piece in pieces:
                    digest.update(piece)
                if digest.hexdigest() != sha256:
                    yield f"{found.name} has other bytes than were fetched"

    def read(self, name: str) -> str | None:
        with self._telling("read"):
            found = self.objects.read(name)
        return None if found is None else found[0].decode("utf-8", "replace")

    def write(self, name: str, text: str) -> None:
        with self._telling("write"):
            self.objects.write(name, text.encode("utf-8", "backslashreplace"))

    def names(self) -> list[str]:
        with self._telling("read"):
            # A prefix is nothing until a record names it.
            return [found.name for found in self.objects.top()[1] if found.name != _LAST_GC_MARKER]

    def each(self, read: Callable[[str], Record], names: Iterable[str]) -> Iterable[Record]:
        with DaemonThreadPool(MAX_CONCURRENT_REQUESTS) as crew:
            for reading in [crew.submit(read, name) for name in names]:
                yield reading.result()

    @contextlib.contextmanager
    def lock(self, name: str, what: str = "", is_needless: Callable[[], bool] = lambda: False) -> Iterator[Path | None]:
        with contextlib.ExitStack() as stack:
            staged = stack.enter_context(self._staging.lock(name, what, _RateLimitedCheck(is_needless)))
            if staged is not None and not is_needless():
                with self._telling("write"):
                    touch = functools.partial(_touch_heartbeat, staged)
                    is_held = stack.enter_context(bucket_lease.hold_lease(self.objects, name, what, is_needless, touch))
                staged = staged if is_held else None
            else:
                staged = None
            yield staged

    def parts(self, name: str) -> Path:
        return self._staging.parts(name)

    def publish(self, staged: Path, new: Record, known: Record) -> Record:
        files = new.files or ()
        if known.files == files and not any(self.hash_faults(known)):
            return replace(new, tree=known.tree)
        new = replace(new, tree=f"{new.tree}.{new.origin.sha256 or _sha256(files)}-{os.urandom(4).hex()}")
        with self._telling("write"):
            self.objects.upload({f"{new.tree}/{file.path}": staged / file.path for file in files})
            self._check(new.tree, files)
            if known.handle:  # since when it is replaced, and may still be read
                self.objects.write(f"{known.tree}/{_SUPERSEDED_MARKER}", b"")
        return new

    def tidy(self, tree_of: Callable[[str], str]) -> None:
        with contextlib.suppress(FetchError, CacheError):  # what cannot be removed now goes another time
            if not self._is_tidying_due():
                return
            folders, objects = self.objects.top()
            # By the store's clock, which has just stamped a text there; this machine's may be days ahead.
            before_s = max(found.modified_s for found in objects) - _GC_MIN_AGE_S
            records = {
                found.name.removesuffix(DESCRIPTOR_SUFFIX) for found in objects if found.name.endswith(DESCRIPTOR_SUFFIX)
            }
            trees = [
                found for folder in folders if (found := ENTRY_DIR_PATTERN.fullmatch(folder)) and found[2]
            ]  # else it is hub's
            number = Counter(found[1] for found in trees)
            for found in trees:
                is_alone = found[1] in records and number[found[1]] == 1
                if not is_alone and found[0] != tree_of(found[1]):
                    self._remove_unused(found[0], before_s)
            self.objects.delete(
                found.name for found in objects if found.name.endswith(LEASE_SUFFIX) and found.modified_s < before_s
            )

    def remove(self, name: str) -> None:
        with self._telling("write"):
            self.objects.delete([name + DESCRIPTOR_SUFFIX])  # first: from here on nobody begins to read
            for folder in self.objects.top()[0]:
                if (found := ENTRY_DIR_PATTERN.fullmatch(folder)) and found[1] == name:
                    self.objects.delete(found.name for found in self.objects.below(folder))

    def _is_tidying_due(self) -> bool:
        """Once a day: it takes requests in proportion to the number of models."""
        with contextlib.suppress(NotFoundError):
            if self.objects.find(_LAST_GC_MARKER).modified_s > time.time() - _GC_MIN_AGE_S:
                return False
        self.objects.write(_LAST_GC_MARKER, b"")
        return True

    def _remove_unused(self, tree: str, before_s: float) -> None:
        inside = self.objects.below(tree)
        if all(found.modified_s < before_s for found in inside):
            self.objects.delete(found.name for found in inside)

    def _check(self, tree: str, files: tuple[FileEntry, ...]) -> None:
        """See that all that was sent is there."""
        here = {found.name: found.size_bytes for found in self.objects.below(tree)}
        wanted = {f"{tree}/{file.path}": file.size_bytes for file in files}
        if here != wanted:
            raise FetchError(f"{self.place}/{tree} holds {len(here)} objects, and not the {len(wanted)} that were sent")

    @contextlib.contextmanager
    def _telling(self, deed: str) -> Iterator[None]:
        try:
            yield
        except OfflineError:
            raise
        except FetchError as error:
            raise CacheError(f"cannot {deed} the cache at {self.place}: {error.text}", fix=error.fix) from error


class _RateLimitedCheck:
    """A question that costs a request, asked no more often than is good, by one who waits on this machine."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask, self._asked_s = ask, time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self._asked_s < _LOOK_S:
            return False
        answer = self._ask()
        self._asked_s = time.monotonic()
        return answer


def _touch_heartbeat(staged: Path) -> None:
    """Show those who wait on this machine that we get on, while nothing is unpacked."""
    with contextlib.suppress(OSError):
        os.utime(staged)


def _sha256(files: tuple[FileEntry, ...]) -> str:
    """A hash of all that a model is made of, for one that came from no archive."""
    lines = "".join(f"{file.sha256} {file.size_bytes} {file.path}\n" for file in files)
    return hashlib.sha256(lines.encode("utf-8", "backslashreplace")).hexdigest()
