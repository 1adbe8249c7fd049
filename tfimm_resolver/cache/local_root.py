"""A cache root in a local directory, with tensorflow_hub's layout."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from tfimm_resolver._util import clock, fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache import record
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, ENTRY_DIR_PATTERN, Record
from tfimm_resolver.cache.root_advice import OTHER_ROOT_FIX, suggest_write_fix
from tfimm_resolver.errors import CacheError
from tfimm_resolver.errors.advice import Fix
from tfimm_resolver.errors.os_errors import map_os_errors, suggest_disk_fix
from tfimm_resolver.locking.lock import CLAIM_PREFIX, acquire, try_acquire
from tfimm_resolver.locking.owner import TOKEN_PREFIXES, LockOwner, is_token_alive, new_token
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.settings import ownership

if TYPE_CHECKING:
    from pathlib import Path

REPLACED_TTL_S = 3600.0
"""Seconds for which a replaced directory is kept for processes that still read it."""

PARTIAL_TTL_S = 24 * 3600.0
"""Seconds for which a partial download of another model is kept, so that it can be resumed."""

_UNGUARDED = contextlib.nullcontext(True)
"""Stands in for ``Guard.reading()`` in a root that several users may share."""

_GUARD_FIX = "Set TFHUB_CACHE_DIR to a directory of your own."


class LocalRoot:
    """Entries are directories, texts are files, and a lock is a file that names its owner as in tensorflow_hub.

    A root with a ``guard`` is for one user: nothing is read that another user can have put there, and everything is written
    with ``mode`` at most. By default, a root has a guard if ``mode`` lets only its owner write.
    """

    def __init__(
        self,
        path: str,
        mode: int = 0o777,
        entry_pattern: re.Pattern[str] = ENTRY_DIR_PATTERN,
        guard: ownership.Guard | None = None,
        fix: Fix = OTHER_ROOT_FIX,
    ) -> None:
        """``fix``: how another directory is chosen."""
        self.path, self.mode, self._fix = path, mode, fix
        self.entry_pattern = entry_pattern
        self._guard = ownership.Guard(path, fix=_GUARD_FIX) if guard is None and not mode & 0o022 else guard

    def path_of(self, name: str) -> str:
        return f"{self.path}/{name}"

    def find_defect(self, known: Record) -> str | None:
        try:
            with self._reading() as is_there:
                return record.find_tree_defect(self.path_of(known.tree), known) if is_there else "its directory is missing"
        except (OSError, MemoryError):  # only now, since each hit comes here
            with self._map_errors("read"):
                raise

    def verify_hashes(self, known: Record) -> Iterator[str]:
        with self._map_errors("read"), self._reading() as is_there:
            if is_there:
                yield from record.verify_hashes(self.path_of(known.tree), known.files or ())
            else:
                yield "its directory is missing"

    def read(self, name: str) -> str | None:
        opener = fs.open_regular_target if self._guard is None else self._guard.open
        try:
            with self._reading() as is_there:
                if is_there:
                    data = fs.read_regular(self.path_of(name), record.MAX_RECORD_BYTES, opener=opener)
                    return record.decode_record(data).replace("\r\n", "\n")
        except (FileNotFoundError, fs.NotRegularError, ownership.UntrustedFileError):
            return None  # a pipe, or a file that another user can write, counts as missing and may be replaced
        except (OSError, MemoryError):  # only now, since each hit reads a text
            with self._map_errors("read"):
                raise
        return None

    def write(self, name: str, text: str) -> None:
        temp_path = self.path_of(f"{name.partition('.')[0]}.{new_token()}.txt")
        with self._map_errors("write"):
            try:
                with open(temp_path, "x", encoding="utf-8", errors="backslashreplace", opener=self._open_new) as file:
                    file.write(text)
                    file.flush()
                    fs.fsync_open(file.fileno())
                fs.durable_replace(temp_path, self.path_of(name))
            finally:
                fs.unlink(temp_path)

    def list_names(self) -> list[str]:
        with self._map_errors("read"), self._reading() as is_there:
            try:
                return os.listdir(self.path) if is_there else []
            except FileNotFoundError:
                return []

    def map_names(self, read: Callable[[str], Record], names: Iterable[str]) -> Iterable[Record]:
        return map(read, names)

    @contextlib.contextmanager
    def lock(self, name: str, what: str = "", is_already_done: Callable[[], bool] = lambda: False) -> Iterator[Path | None]:
        from pathlib import Path  # takes 5 ms, needed on a miss only

        with contextlib.ExitStack() as cleanup:
            with self._map_errors("write"):
                self._create()
                lock = acquire(self.path_of(f"{name}.lock"), what, is_already_done)
                if lock is None:
                    yield None
                    return
                cleanup.callback(lock.release)
                staging = Path(self.path_of(f"{name}.{lock.owner.token}.tmp"))
                cleanup.callback(fs.remove_tree, str(staging), ignore_errors=True)
                self._remove_leftovers(name)
                staging.mkdir(0o777 if self._guard is None else 0o700)
                fs.check_rename(str(staging))  # before the download, which it would make useless
            yield staging

    def parts_dir(self, name: str) -> Path:
        from pathlib import Path

        path = Path(self.path_of(f"{name}.parts"))
        status = fs.find_status(path)
        if status is not None and not ownership.is_owned_by_user(status):
            return path.with_name(f"{path.name}-{getattr(os, 'geteuid', int)()}")
        return path

    def publish(self, staged: Path, new: Record, known: Record) -> Record:
        is_complete = self.find_defect(known) is None
        existing = self._scan_existing(known.tree) if is_complete else None
        if is_complete and existing == new.files:
            return replace(new, tree=known.tree)
        if is_complete and known.files in (None, existing):
            new = self._publish_new_generation(staged, new)
            with self._map_errors("write"):
                os.utime(self.path_of(known.tree))  # it is replaced from now on, and may still be read
            return new
        # Remove the damaged directory before its record: files without a record could pass for a complete model, and the old
        # record must not describe new files.
        self._remove(known.tree)
        self._remove(new.tree + DESCRIPTOR_SUFFIX)
        return self._publish_under_own_name(staged, new)

    def collect_garbage(self, tree_of: Callable[[str], str]) -> None:
        trees = [found for other in self.list_names() if (found := self.entry_pattern.fullmatch(other))]
        several = {found[1] for found in trees if found[2]}
        for found in trees:
            if found[1] not in several:  # almost always: no need to look at it
                continue
            with contextlib.suppress(CacheError, OSError):  # left for a later run
                age_s = clock.get_time_s() - os.stat(self.path_of(found[0])).st_mtime
                if age_s > REPLACED_TTL_S and found[0] != tree_of(found[1]):
                    self._remove(found[0])

    def remove(self, name: str) -> None:
        trees = [other for other in self.list_names() if (found := self.entry_pattern.fullmatch(other)) and found[1] == name]
        # The record last: without it, a damaged directory could pass for one that was put there by hand.
        for other in (*trees, os.path.basename(self.parts_dir(name)), name + DESCRIPTOR_SUFFIX):
            self._remove(other)

    def _publish_under_own_name(self, staged: Path, new: Record) -> Record:
        """Publish the staged directory under the record's own name, which is free or was held by a damaged directory."""
        if self._rename_staged(staged, new.tree):
            return new
        # A process that does not respect our lock was faster: use its directory if it has the same files.
        same = self.find_defect(Record("", new.tree)) is None and self._scan_existing(new.tree) == new.files
        return new if same else self._publish_new_generation(staged, new)

    def _publish_new_generation(self, staged: Path, new: Record) -> Record:
        """Publish the staged directory under a new name, beside one that may still be read."""
        name = new.tree
        while not self._rename_staged(staged, new.tree):
            new = replace(new, tree=f"{name}.{os.urandom(4).hex()}")
        return new

    def _scan_existing(self, tree: str) -> tuple[FileEntry, ...] | None:
        """Return the files of a directory that any program may have written; None if not all are readable."""
        try:
            return record.hash_tree(self.path_of(tree))
        except OSError:
            return None

    def _rename_staged(self, staged: Path, tree: str) -> bool:
        """Rename a staged directory to ``tree``; return False if another process has created ``tree`` meanwhile."""
        with self._map_errors("write"):
            try:
                os.utime(staged)  # its age counts from now on
                if self._guard is not None:
                    ownership.restrict_tree(str(staged), self.mode & os.stat(self.path).st_mode)
                fs.fsync_tree(str(staged))
                fs.durable_rename(staged, self.path_of(tree))
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return False
                raise
        return True

    def _remove(self, name: str) -> None:
        """Remove a directory or a text atomically, if it exists."""
        path = self.path_of(name)
        with self._map_errors("write"), contextlib.suppress(FileNotFoundError):
            if not os.path.isdir(path) or os.path.islink(path):
                return os.unlink(path)
            # Rename first, so that no process sees a partly removed directory under its name.
            trash_path = self.path_of(f"{name.partition('.')[0]}.{new_token()}.tmp")
            try:
                fs.durable_rename(path, trash_path)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    return fs.remove_tree_without_rename(path)
                fs.remove_tree(trash_path, ignore_errors=True)  # the rename may have succeeded, and only its fsync failed
                raise
            fs.remove_tree(trash_path)

    def _create(self) -> None:
        if self._guard is not None:
            return self._guard.create(self.mode)
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.path, self.mode)
        if not os.path.isdir(self.path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self.path)

    def _reading(self) -> AbstractContextManager[bool]:
        """Guard a read; the context manager yields whether the root exists and may be read."""
        return _UNGUARDED if self._guard is None else self._guard.reading()

    def _open_new(self, path: str, flags: int) -> int:
        """Open a new text, with a mode that in a guarded root never lets other users write it."""
        return os.open(path, flags, 0o666 if self._guard is None else 0o644)

    def _remove_leftovers(self, name: str) -> None:
        """Remove files of dead processes: plain tensorflow_hub's for this entry, this package's for any entry."""
        for other in self.list_names():
            key, _, rest = other.partition(".")
            is_hubs = key == name and rest.endswith(".tmp") and not rest.startswith(TOKEN_PREFIXES)
            is_claim = key == name and rest.startswith(CLAIM_PREFIX)
            has_token = rest.startswith(TOKEN_PREFIXES)
            if is_hubs or is_claim or (has_token and not is_token_alive(rest.partition(".")[0], assume_own_alive=key != name)):
                fs.remove_tree(self.path_of(other), ignore_errors=True)
                with contextlib.suppress(OSError):  # it was a directory, which is removed already
                    fs.unlink(self.path_of(other))
            elif rest == "lock" and key != name:
                with contextlib.suppress(OSError):
                    self._remove_dead_lock(key)
            elif rest.startswith("parts") and self.entry_pattern.fullmatch(key):
                with contextlib.suppress(OSError):  # left for a later run
                    self._remove_old_parts(key, other)

    def _remove_dead_lock(self, key: str) -> None:
        """Remove a lock file that its owner left when it died after its work was done: no process waits for it."""
        path = self.path_of(f"{key}.lock")
        token = LockOwner.read(path).token
        if token.startswith(TOKEN_PREFIXES) and not is_token_alive(token, assume_own_alive=True):
            lock = try_acquire(path) or try_acquire(path)  # the first call removes the file
            if lock is not None:
                lock.release()

    def _remove_old_parts(self, key: str, parts: str) -> None:
        """Remove a partial download that was not resumed for a day, unless a process that may resume it holds its lock."""
        tree = self.path_of(parts)
        newest_s = max(os.lstat(f"{tree}/{path}").st_mtime for path in (".", *fs.walk(tree)))
        if clock.get_time_s() - newest_s > PARTIAL_TTL_S and (lock := try_acquire(self.path_of(f"{key}.lock"))):
            try:
                self._remove(parts)
            finally:
                lock.release()

    def _map_errors(self, action: str) -> AbstractContextManager[None]:
        suggest = suggest_write_fix if action == "write" else suggest_disk_fix
        fix = functools.partial(suggest, otherwise=self._fix)
        return map_os_errors(CacheError, f"cannot {action} the cache at {show(self.path)}", fix, show_path=True)
