"""The cache: look, lock, look again, stage, fill, verify, publish; a record written last is the commit."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfimm_resolver._util.fs import walk
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, ENTRY_DIR_PATTERN, Record, hash_tree
from tfimm_resolver.cache.roots import Root
from tfimm_resolver.errors import ArchiveError, FetchError, IntegrityError
from tfimm_resolver.manifest import FetchResult, FileEntry

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("tfimm_resolver")

ALIAS_SUFFIX = ".latest.txt"
"""Ends the name of a text that says which handle another one stood for when that was last asked."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model in the cache; ``fault`` says why it is not whole, or is None."""

    name: str
    path: str
    record: Record
    fault: str | None


@dataclass(frozen=True, slots=True)
class Cache:
    """Models in a root, each under the sha1 of its key, as tensorflow_hub names them, or under what ``named`` makes of it.

    ``named`` has to give every key a name of its own, without a dot, that is one of the root's ``trees``.
    """

    root: Root
    named: Callable[[str], str] = field(default_factory=lambda: entry_name_for_key)

    def find(self, key: str, sha256: str | None = None) -> Record | None:
        """The record of a whole model, or None; with a pin, of one that is known to keep it.

        Raises:
            IntegrityError: if it is known to be another one.
        """
        known = self.find_named(self.named(key))
        return known if known is not None and _satisfies(known, sha256) else None

    def find_named(self, name: str) -> Record | None:
        """The record of the whole model of that name, or None."""
        known = self._read(name)
        return known if self.root.fault(known) is None else None

    def path(self, record: Record) -> str:
        return self.root.locate(record.tree)

    def ensure(
        self,
        handle: str,
        key: str,
        fill: Callable[[Path, Path], FetchResult],
        *,
        refresh: bool = False,
        sha256: str | None = None,
    ) -> Record:
        """The record of the model ``key``, brought by ``fill`` where it is missing, damaged or to be refreshed.

        ``fill`` is called at most once, with an empty local directory and the place of one that outlives a ``fill``
        that fails, not made yet; ``handle`` is what the record says of the model.
        Nobody sees a tree before it is whole; a ``fill`` that fails leaves what was there.

        Raises:
            IntegrityError: if the cached model came from an archive with another sha256.
            CacheError: if the root cannot be used.
        """
        before = self.find(key)
        if before is not None and not refresh and _satisfies(before, sha256):
            return before

        def is_done() -> bool:
            """Whether another process did our work."""
            now = self.find(key)
            return now is not None and (not refresh or now != before) and _satisfies(now, sha256)

        name = self.named(key)
        with self.root.lock(name, handle, is_done) as staged:
            now = self.find(key)
            if now is not None and (staged is None or is_done()):
                return now
            if staged is None:  # it was there a moment ago
                return self.ensure(handle, key, fill, refresh=refresh, sha256=sha256)
            return self.publish(name, handle, staged, self._filled(fill, staged, key))

    def publish(self, name: str, handle: str, staged: Path, brought: FetchResult) -> Record:
        """Make what lies in ``staged`` the model of that name, for one who holds its lock; raises as ``ensure`` does."""
        record = Record(handle, name, brought.fetched_at or _now(), brought.origin, _measured(staged, brought))
        known = self._read(name)
        _tell_of_change(record, known.origin.sha256)
        record = self.root.publish(staged, record, known)
        self.root.write(name + DESCRIPTOR_SUFFIX, record.to_text())
        self.root.tidy(lambda other: self._read(other).tree)
        return record

    def entries(self) -> Iterator[Entry]:
        """Every model that lies here, whole or not, in the order of names."""
        trees = (self.root.trees.fullmatch(other.removesuffix(DESCRIPTOR_SUFFIX)) for other in self.root.names())
        for known in self.root.each(self._read, sorted({found[1] for found in trees if found})):
            yield Entry(known.tree.partition(".")[0], self.path(known), known, self.root.fault(known))

    def remember(self, key: str, handle: str) -> None:
        """Keep in mind which handle the one of that key stood for, if it is not known."""
        if self.remembered(key) != handle:
            self.root.write(self.named(key) + ALIAS_SUFFIX, handle + "\n")

    def remembered(self, key: str) -> str | None:
        """What was kept in mind."""
        text = self.root.read(self.named(key) + ALIAS_SUFFIX)
        return text.strip() if text else None

    def remove(self, name: str) -> None:
        """Remove the model of that name, and every tree that it had."""
        with self.root.lock(name, "a model that is to be removed"):
            self.root.remove(name)

    def _read(self, name: str) -> Record:
        text = self.root.read(name + DESCRIPTOR_SUFFIX)
        record = Record.parse(text, name) if text else Record("", name)
        found = self.root.trees.fullmatch(record.tree)
        return record if found and found[1] == name else Record(record.handle, name)

    def retold(self, key: str, error: FetchError) -> FetchError:
        """The error, and what is with the copy that lies here, if one does."""
        name = self.named(key)
        trees = (self.root.trees.fullmatch(other.removesuffix(DESCRIPTOR_SUFFIX)) for other in self.root.names())
        if not any(found and found[1] == name for found in trees):
            return error
        fault = self.root.fault(self._read(name))
        is_kept = f"{error.text}\n  the cached copy stays"
        return error.retold(f"the cached copy is damaged ({fault}) and {error.text}" if fault else is_kept)

    def _filled(self, fill: Callable[[Path, Path], FetchResult], staged: Path, key: str) -> FetchResult:
        try:
            return fill(staged, self.root.parts(self.named(key)))
        except FetchError as error:
            told = self.retold(key, error)
            if told is error:
                raise
            raise told from error


def _tell_of_change(record: Record, sha256: str) -> None:
    """Say so where what came is another model than the one from an archive with that hash, which lay here."""
    now = record.origin.sha256
    if now and sha256 and now != sha256:
        log.warning("%s is another model by now: its archive has sha256 %s, had %s", record.handle, now, sha256)


def _measured(staged: Path, brought: FetchResult) -> tuple[FileEntry, ...]:
    """What was staged, if it is all that came.

    Raises:
        ArchiveError: if nothing came.
        IntegrityError: if somebody removed or changed files that were just unpacked.
    """
    files = hash_tree(str(staged)) if brought.files is None else brought.files
    if not files:
        raise ArchiveError("the archive holds no files")
    try:
        here = {path: os.stat(staged / path).st_size for path in walk(str(staged))}
    except FileNotFoundError:  # removed between the two
        here = {}
    if here != {file.path: file.size_bytes for file in files}:
        size_bytes = sum(file.size_bytes for file in files)
        raise IntegrityError(
            f"of {len(files)} files, {size_bytes} bytes, unpacked into {staged} {len(here)}, {sum(here.values())} are left",
            fix="Something removes files there while they are new: try again, or set TFHUB_CACHE_DIR to another place.",
        )
    return files


def is_tree(name: str) -> bool:
    """Whether a directory of that name is one of a cache's."""
    return ENTRY_DIR_PATTERN.fullmatch(name) is not None


def entry_name_for_key(key: str) -> str:
    """The name of a key's tree: its sha1, as tensorflow_hub has it."""
    return hashlib.sha1(key.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def _satisfies(record: Record, sha256: str | None) -> bool:
    """Whether the record may stand for a model with that pin.

    Raises:
        IntegrityError: if it is known to be another one.
    """
    if sha256 is None:
        return True
    if record.origin.sha256 and record.origin.sha256 != sha256:
        raise IntegrityError(
            f"{record.handle} is cached with another sha256:\n  cached {record.origin.sha256}\n  pinned {sha256}",
            fix="Fetch it anew with refresh=True (command line: --refresh), or mend the pin.",
        )
    return bool(record.origin.sha256)


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds // 1000:06}Z"
