"""A cache root in a local directory, with tensorflow_hub's layout."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from tfimm_resolver._util import clock, fs
from tfimm_resolver._util.rename_check import check_rename_once
from tfimm_resolver.cache import record
from tfimm_resolver.cache.local_cleanup import Cleaner
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, ENTRY_DIR_PATTERN, Record
from tfimm_resolver.cache.root_advice import OTHER_ROOT_FIX, map_root_errors
from tfimm_resolver.cache.sharing import share_file, share_tree
from tfimm_resolver.errors import CacheError
from tfimm_resolver.errors.advice import Fix
from tfimm_resolver.locking import use_lock
from tfimm_resolver.locking.lock import acquire
from tfimm_resolver.locking.owner import PARTS, new_token
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.settings import ownership

if TYPE_CHECKING:
    from pathlib import Path

_UNGUARDED = contextlib.nullcontext(True)
"""Stands in for ``Guard.reading()`` in a root that several users may share."""

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_TEXTS_MAX, _REMEMBERED_MAX = 256, 1 << 16
_texts: dict[str, tuple[tuple[int, ...], str]] = {}
"""Texts that were read, by path, each with the state of its file, in which it cannot be changed unnoticed."""

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
            if self._guard is None:
                return record.find_tree_defect(self.path_of(known.tree), known)
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
        try:
            if self._guard is None:
                return _read_text(self.path_of(name), None)
            with self._reading() as is_there:
                if is_there:
                    return _read_text(self.path_of(name), self._guard)
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
                    if self._guard is None:
                        share_file(temp_path, os.stat(self.path).st_mode)
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
                self.cleaner.remove_leftovers(name, self.list_names())
                staging.mkdir(0o777 if self._guard is None else 0o700)
                check_rename_once(self.path, str(staging))  # before the download, which it would make useless
            yield staging

    def parts_dir(self, name: str) -> Path:
        from pathlib import Path

        path = Path(self.path_of(f"{name}.{PARTS}"))
        status = fs.find_status(path)
        if status is not None and not ownership.is_owned_by_user(status):
            return path.with_name(f"{path.name}-{getattr(os, 'geteuid', int)()}")
        return path

    def publish(self, staged: Path, new: Record, known: Record) -> Record:
        is_complete = self.find_defect(known) is None
        existing = self._scan_existing(known.tree) if is_complete else None
        if is_complete and existing == new.files:
            return new._replace(tree=known.tree)
        if is_complete and known.files in (None, existing):
            new = self._reuse_replaced(new, known.tree) or self._publish_new_generation(staged, new)
            with contextlib.suppress(PermissionError):  # another user's
                os.utime(self.path_of(known.tree))  # it is replaced from now on, and may still be read
            return new
        # Remove the damaged directory before its record: files without a record could pass for a complete model, and the old
        # record must not describe new files.
        with self._map_errors("write"):
            is_there = os.path.lexists(self.path_of(known.tree))
            if is_there and not self.cleaner.try_remove_tree(known.tree, give_up=True):  # another process reads it
                return self._publish_new_generation(staged, new)
            self.cleaner.remove(new.tree + DESCRIPTOR_SUFFIX)
        return self._publish_under_own_name(staged, new)

    def withdraw(self, tree: str) -> None:
        with contextlib.suppress(OSError):  # left for the next garbage collection
            self.cleaner.try_remove_tree(tree, give_up=True, is_unknown=True)

    def collect_garbage(self, tree_of: Callable[[str], str]) -> None:
        with contextlib.suppress(CacheError):  # left for a later run
            self.cleaner.remove_replaced(self.list_names(), tree_of)

    def remove(self, name: str, *, force: bool = False) -> None:
        *trees, parts = self.list_directories(name, self.list_names())
        with self._map_errors("write"):
            self.cleaner.remove_entry(name, trees, parts, force=force)

    def check_removal(self, directories: Sequence[str], *, force: bool = False) -> None:
        """Check whether ``remove`` would remove an entry with these directories now; raise as it does, and remove nothing."""
        with self._map_errors("write"):
            self.cleaner.check_removal(directories[:-1], force=force)

    def list_directories(self, name: str, names: Iterable[str]) -> list[str]:
        """Return all directories of an entry, given names in the root; last that of its partial download, if there is one."""
        trees = [other for other in names if (found := self.entry_pattern.fullmatch(other)) and found[1] == name]
        return [*trees, os.path.basename(self.parts_dir(name))]

    @property
    def cleaner(self) -> Cleaner:
        """What removes files from the root."""
        return Cleaner(self.path, self.entry_pattern)

    def _publish_under_own_name(self, staged: Path, new: Record) -> Record:
        """Publish the staged directory under the record's own name, which is free or was held by a damaged directory."""
        if self._rename_staged(staged, new.tree, is_durable=False):
            return new
        # A process that does not respect our lock was faster: use its directory if it has the same files.
        same = self.find_defect(Record("", new.tree)) is None and self._scan_existing(new.tree) == new.files
        return new if same else self._publish_new_generation(staged, new)

    def _publish_new_generation(self, staged: Path, new: Record) -> Record:
        """Publish the staged directory under a new name, beside one that may still be read."""
        name = new.tree
        while not self._rename_staged(staged, new.tree, is_durable=True):
            new = new._replace(tree=f"{name}.{os.urandom(4).hex()}")
        return new

    def _reuse_replaced(self, new: Record, current: str) -> Record | None:
        """Return the record with a directory that was replaced earlier and has the same files, if there is one.

        A model that changes back and forth would otherwise leave one copy more at each refresh.
        """
        for other in self.list_names():
            found = self.entry_pattern.fullmatch(other)
            if found is None or found[1] != new.tree or other == current:
                continue
            # In use from now on, so that no other process removes it while it is compared, or before the record names it.
            is_same_size = record.find_tree_defect(self.path_of(other), new) is None
            if is_same_size and use_lock.hold(self.path_of(other), 0.0) and self._scan_existing(other) == new.files:
                return new._replace(tree=other)
        return None

    def _scan_existing(self, tree: str) -> tuple[FileEntry, ...] | None:
        """Return the files of a directory that any program may have written; None if not all are readable."""
        try:
            return record.hash_tree(self.path_of(tree))
        except OSError:
            return None

    def _rename_staged(self, staged: Path, tree: str, *, is_durable: bool) -> bool:
        """Rename a staged directory to ``tree``; return False if another process has created ``tree`` meanwhile.

        What is in it is flushed before. ``is_durable``: so is its new name. A new model does without: the flush of its record
        includes the name, and if a power failure leaves only the record, that counts as a model that is missing.
        """
        with self._map_errors("write"):
            try:
                os.utime(staged)  # its age counts from now on
                root_mode = os.stat(self.path).st_mode
                if self._guard is not None:
                    ownership.restrict_tree(str(staged), self.mode & root_mode)
                else:
                    share_tree(str(staged), root_mode)
                fs.fsync_tree(str(staged))
                (fs.durable_rename if is_durable else fs.rename)(staged, self.path_of(tree))
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return False
                raise
        return True

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

    def _map_errors(self, action: str) -> AbstractContextManager[None]:
        return map_root_errors(action, self.path, self._fix)


def _read_text(path: str, guard: ownership.Guard | None) -> str:
    """Return a text; the same object again while its file does not change, as most hits read a record that is known."""
    descriptor = os.open(path, _OPEN_FLAGS) if guard is None else guard.open(path, _OPEN_FLAGS)
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    state = fs.get_state(status)
    known = _texts.get(path)
    if known is not None and known[0] == state:
        return known[1]
    opener = fs.open_regular_target if guard is None else guard.open
    data = fs.read_regular(path, record.MAX_RECORD_BYTES, opener=opener)
    text = record.decode_record(data).replace("\r\n", "\n")
    if len(data) <= _REMEMBERED_MAX and clock.is_settled(max(state[:2])):
        if len(_texts) >= _TEXTS_MAX:
            _texts.clear()
        _texts[path] = (state, text)
    return text
