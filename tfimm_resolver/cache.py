"""The cache: look, lock, look again, stage, fill, verify, publish; a record written last is the commit."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tfimm_resolver.errors import ArchiveError, CacheError, FetchError, IntegrityError
from tfimm_resolver.record import Brought, File, Record, measure, walk
from tfimm_resolver.roots import Root

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("tfimm_resolver")

RETIRED_S = 3600.0
"""Seconds for which a replaced tree stays for those who still read it."""

_RECORD = ".descriptor.txt"
_TREE = re.compile(r"([0-9a-f]{40})(\.[0-9a-f]{8})?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One model in the cache; ``fault`` says why it is not whole, or is None."""

    name: str
    path: str
    record: Record
    fault: str | None


@dataclass(frozen=True, slots=True)
class Cache:
    """Models in a root, each under the sha1 of its key, as tensorflow_hub names them."""

    root: Root

    def find(self, key: str) -> Record | None:
        """The record of a whole model, or None."""
        known = self._read(name_of(key))
        return known if self.root.fault(known) is None else None

    def path(self, record: Record) -> str:
        return self.root.locate(record.tree)

    def ensure(
        self, handle: str, key: str, fill: Callable[[Path, Path], Brought], *, refresh: bool = False, sha256: str | None = None
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

        name = name_of(key)
        with self.root.lock(name, handle, is_done) as staged:
            now = self.find(key)
            if now is not None and (staged is None or is_done()):
                return now
            if staged is None:  # it was there a moment ago
                return self.ensure(handle, key, fill, refresh=refresh, sha256=sha256)
            brought = self._filled(fill, staged, name)
            record = Record(handle, name, _now(), brought.origin, _measured(staged, brought))
            self._tell_of_change(name, record)
            record = self._publish(name, staged, record, now)
            self._remove_retired()
        return record

    def entries(self) -> Iterator[Entry]:
        """Every model that lies here, whole or not, in the order of names."""
        trees = (_TREE.fullmatch(other.removesuffix(_RECORD)) for other in self.root.names())
        for name in sorted({found[1] for found in trees if found}):
            known = self._read(name)
            yield Entry(name, self.path(known), known, self.root.fault(known))

    def remove(self, name: str) -> None:
        """Remove the model of that name, and every tree that it had."""
        with self.root.lock(name, "a model that is to be removed"):
            for tree in [*self._trees(name), os.path.basename(self.root.parts(name))]:
                self.root.remove(tree)
            # Last: without its record, a damaged tree could pass for one that somebody else put there.
            self.root.remove(name + _RECORD)

    def _read(self, name: str) -> Record:
        text = self.root.read(name + _RECORD)
        record = Record.parse(text, name) if text else Record("", name)
        found = _TREE.fullmatch(record.tree)
        return record if found and found[1] == name else Record(record.handle, name)

    def _filled(self, fill: Callable[[Path, Path], Brought], staged: Path, name: str) -> Brought:
        try:
            return fill(staged, self.root.parts(name))
        except FetchError as error:
            if not self._trees(name):
                raise
            fault = self.root.fault(self._read(name))
            is_kept = f"{error.text}\n  the cached copy stays"
            raise error.retold(f"the cached copy is damaged ({fault}) and {error.text}" if fault else is_kept) from error

    def _tell_of_change(self, name: str, record: Record) -> None:
        """Say so where what came is another model than what lay here."""
        before = self._read(name)
        hashes = before.origin.sha256, record.origin.sha256
        if all(hashes) and hashes[0] != hashes[1]:
            log.warning("%s is another model by now: its archive has sha256 %s, had %s", record.handle, *hashes[::-1])

    def _publish(self, name: str, staged: Path, record: Record, now: Record | None) -> Record:
        """Make what was staged what the record names; ``now`` is the whole model that it replaces, if there is one."""
        standing = _standing(self.path(now)) if now is not None else None
        if now is not None and standing == record.files:
            record = replace(record, tree=now.tree)
        elif now is not None and now.files in (None, standing):
            record = self._beside(name, staged, record)
            self.root.retire(now.tree)
        else:
            if now is not None or self.root.fault(self._read(name)) is not None:
                self._discard(name)
            record = self._instead(name, staged, record)
        self.root.write(name + _RECORD, record.to_text())
        return record

    def _discard(self, name: str) -> None:
        """Remove a damaged tree, then its record: it must not vouch for new files, nor old ones go without it."""
        self.root.remove(self._read(name).tree)
        self.root.remove(name + _RECORD)

    def _instead(self, name: str, staged: Path, record: Record) -> Record:
        """Put the staged tree where none is, or a damaged one was."""
        if self.root.adopt(staged, name):
            return record
        # Another process, that does not know our lock, was quicker: its tree is ours, if it is the same.
        theirs = Record("", name)
        same = self.root.fault(theirs) is None and _standing(self.root.locate(name)) == record.files
        return record if same else self._beside(name, staged, record)

    def _beside(self, name: str, staged: Path, record: Record) -> Record:
        """Put the staged tree beside one that may be being read."""
        record = replace(record, tree=name)
        while not self.root.adopt(staged, record.tree):
            record = replace(record, tree=f"{name}.{os.urandom(4).hex()}")
        return record

    def _trees(self, name: str) -> list[str]:
        return [other for other in self.root.names() if (found := _TREE.fullmatch(other)) and found[1] == name]

    def _remove_retired(self) -> None:
        """Remove trees that were replaced over an hour ago; what cannot be removed now goes another time."""
        trees = [found for other in self.root.names() if (found := _TREE.fullmatch(other))]
        several = {found[1] for found in trees if found[2]}
        for found in trees:
            with contextlib.suppress(CacheError):
                is_old = found[1] in several and self.root.retired_for_s(found[0]) > RETIRED_S
                if is_old and found[0] != self._read(found[1]).tree:
                    self.root.remove(found[0])


def _measured(staged: Path, brought: Brought) -> tuple[File, ...]:
    """What was staged, if it is all that came.

    Raises:
        ArchiveError: if nothing came.
        IntegrityError: if somebody removed or changed files that were just unpacked.
    """
    files = measure(str(staged)) if brought.files is None else brought.files
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


def _standing(tree: str) -> tuple[File, ...] | None:
    """The files of a tree that anybody may have made; None if not all can be read."""
    try:
        return measure(tree)
    except OSError:
        return None


def is_tree(name: str) -> bool:
    """Whether a directory of that name is one of a cache's."""
    return _TREE.fullmatch(name) is not None


def name_of(key: str) -> str:
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
