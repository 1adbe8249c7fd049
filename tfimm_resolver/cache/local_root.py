"""A cache root in a local directory, laid out as tensorflow_hub does it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from tfimm_resolver._util import fs
from tfimm_resolver.cache import record
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, ENTRY_DIR_PATTERN, Record
from tfimm_resolver.errors import CacheError
from tfimm_resolver.locking import lock as locking_lock
from tfimm_resolver.locking.owner import TOKEN_PREFIXES, LockOwner, is_token_alive, new_token
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.settings import ownership

if TYPE_CHECKING:
    from pathlib import Path

REPLACED_TTL_S = 3600.0
"""Seconds for which a replaced tree stays for those who still read it."""

_ANYBODYS = contextlib.nullcontext(True)
"""Stands for the guard of a root that several users may share."""

_OWN = "Set TFHUB_CACHE_DIR to a directory of your own."

PARTIAL_TTL_S = 24 * 3600.0
"""Seconds for which an unfinished download of another model stays, to be continued."""


class LocalRoot:
    """Trees are directories, texts are files, a lock is a file that names its holder as tensorflow_hub does.

    A root with a ``guard``, which by default is one whose ``mode`` lets only its owner write, is for one user: nothing is
    read there that another user can have put there, and whatever is written there has that mode at most.
    """

    def __init__(
        self, place: str, mode: int = 0o777, trees: re.Pattern[str] = ENTRY_DIR_PATTERN, guard: ownership.Guard | None = None
    ) -> None:
        self.place = place
        self.mode = mode
        self.trees = trees
        self._guard = ownership.Guard(place, fix=_OWN) if guard is None and not mode & 0o022 else guard

    def locate(self, name: str) -> str:
        return f"{self.place}/{name}"

    def fault(self, known: Record) -> str | None:
        with self._telling("read"), self._reading() as is_there:
            return record.find_tree_defect(self.locate(known.tree), known) if is_there else "its directory is missing"

    def hash_faults(self, known: Record) -> Iterator[str]:
        with self._telling("read"), self._reading() as is_there:
            if is_there:
                yield from record.verify_hashes(self.locate(known.tree), known.files or ())
            else:
                yield "its directory is missing"

    def read(self, name: str) -> str | None:
        opener = fs.open_regular_target if self._guard is None else fs.open_regular
        try:
            with self._reading() as is_there:
                if not is_there:
                    return None
                with open(self.locate(name), encoding="utf-8", errors="replace", opener=opener) as file:
                    return file.read()
        except (FileNotFoundError, fs.NotRegularError):  # a pipe, for instance, is no text and is replaced by one
            return None
        except CacheError:
            raise
        except OSError as error:
            raise self._error("read", error) from error

    def write(self, name: str, text: str) -> None:
        half = self.locate(f"{name.partition('.')[0]}.{new_token()}.txt")
        with self._telling("write"):
            try:
                with open(half, "x", encoding="utf-8", errors="backslashreplace", opener=self._open_new) as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                fs.durable_replace(half, self.locate(name))
            finally:
                fs.unlink(half)

    def names(self) -> list[str]:
        with self._telling("read"), self._reading() as is_there:
            try:
                return os.listdir(self.place) if is_there else []
            except FileNotFoundError:
                return []

    def each(self, read: Callable[[str], Record], names: Iterable[str]) -> Iterable[Record]:
        return map(read, names)

    @contextlib.contextmanager
    def lock(self, name: str, what: str = "", is_needless: Callable[[], bool] = lambda: False) -> Iterator[Path | None]:
        from pathlib import Path  # 5 ms that only a miss costs

        with contextlib.ExitStack() as after:
            with self._telling("write"):
                self._make()
                lock = locking_lock.acquire(self.locate(f"{name}.lock"), what, is_needless)
                if lock is None:
                    yield None
                    return
                after.callback(lock.release)
                staging = Path(self.locate(f"{name}.{lock.mine.word}.tmp"))
                after.callback(fs.remove_tree, str(staging), ignore_errors=True)
                self._remove_unfinished(name)
                staging.mkdir(0o777 if self._guard is None else 0o700)
            yield staging

    def parts(self, name: str) -> Path:
        from pathlib import Path

        path = Path(self.locate(f"{name}.parts"))
        status = fs.find_status(path)
        if status is not None and not ownership.is_ours(status):
            return path.with_name(f"{path.name}-{getattr(os, 'geteuid', int)()}")
        return path

    def publish(self, staged: Path, new: Record, known: Record) -> Record:
        is_whole = self.fault(known) is None
        standing = self._standing(known.tree) if is_whole else None
        if is_whole and standing == new.files:
            return replace(new, tree=known.tree)
        if is_whole and known.files in (None, standing):
            new = self._beside(staged, new)
            with self._telling("write"):
                os.utime(self.locate(known.tree))  # since when it is replaced, and may still be read
            return new
        # A damaged tree, then its record: it must not vouch for new files, nor old ones go without it.
        self._remove(known.tree)
        self._remove(new.tree + DESCRIPTOR_SUFFIX)
        return self._instead(staged, new)

    def tidy(self, tree_of: Callable[[str], str]) -> None:
        trees = [found for other in self.names() if (found := self.trees.fullmatch(other))]
        several = {found[1] for found in trees if found[2]}
        for found in trees:
            with contextlib.suppress(CacheError, OSError):  # what cannot be removed now goes another time
                age_s = time.time() - os.stat(self.locate(found[0])).st_mtime
                if found[1] in several and age_s > REPLACED_TTL_S and found[0] != tree_of(found[1]):
                    self._remove(found[0])

    def remove(self, name: str) -> None:
        trees = [other for other in self.names() if (found := self.trees.fullmatch(other)) and found[1] == name]
        # The record last: without it, a damaged tree could pass for one that somebody else put there.
        for other in (*trees, os.path.basename(self.parts(name)), name + DESCRIPTOR_SUFFIX):
            self._remove(other)

    def _instead(self, staged: Path, new: Record) -> Record:
        """Put the staged tree where none is, or a damaged one was."""
        if self._adopt(staged, new.tree):
            return new
        # Another process, that does not know our lock, was quicker: its tree is ours, if it is the same.
        same = self.fault(Record("", new.tree)) is None and self._standing(new.tree) == new.files
        return new if same else self._beside(staged, new)

    def _beside(self, staged: Path, new: Record) -> Record:
        """Put the staged tree beside one that may be being read."""
        name = new.tree
        while not self._adopt(staged, new.tree):
            new = replace(new, tree=f"{name}.{os.urandom(4).hex()}")
        return new

    def _standing(self, tree: str) -> tuple[FileEntry, ...] | None:
        """The files of a tree that anybody may have made; None if not all can be read."""
        try:
            return record.hash_tree(self.locate(tree))
        except OSError:
            return None

    def _adopt(self, staged: Path, tree: str) -> bool:
        """Make a filled directory the tree; False if another process has put one there meanwhile."""
        try:
            os.utime(staged)  # from here on its age counts
            if self._guard is not None:
                ownership.restrict_tree(str(staged), self.mode & os.stat(self.place).st_mode)
            fs.fsync_tree(str(staged))
            fs.durable_rename(staged, self.locate(tree))
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise self._error("write", error) from error
        return True

    def _remove(self, name: str) -> None:
        """Remove a tree or a text at once; nothing where there is none."""
        path = self.locate(name)
        with self._telling("write"), contextlib.suppress(FileNotFoundError):
            if not os.path.isdir(path) or os.path.islink(path):
                return os.unlink(path)
            # Renamed first, so that nobody finds half a tree under its name.
            dying = self.locate(f"{name.partition('.')[0]}.{new_token()}.tmp")
            try:
                fs.durable_rename(path, dying)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    return fs.remove_tree_in_place(path)
                fs.remove_tree(dying, ignore_errors=True)  # it may have been renamed, and only not be there to stay
                raise
            fs.remove_tree(dying)

    def _make(self) -> None:
        if self._guard is not None:
            return self._guard.make(self.mode)
        os.makedirs(os.path.dirname(self.place), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.place, self.mode)
        if not os.path.isdir(self.place):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self.place)

    def _reading(self) -> AbstractContextManager[bool]:
        """While something is read; whether it may be."""
        return _ANYBODYS if self._guard is None else self._guard.reading()

    def _open_new(self, path: str, flags: int) -> int:
        """Opens a new text; in a private root no other user could write it even before it is closed."""
        return os.open(path, flags, 0o666 if self._guard is None else 0o644)

    def _remove_unfinished(self, name: str) -> None:
        """Remove what the dead left: of this name what plain tensorflow_hub staged, of any name what processes of ours did."""
        for other in self.names():
            key, _, rest = other.partition(".")
            is_hubs = key == name and rest.endswith(".tmp") and not rest.startswith(TOKEN_PREFIXES)
            is_claim = key == name and rest.startswith(locking_lock.CLAIM)
            is_ours = rest.startswith(TOKEN_PREFIXES)
            if is_hubs or is_claim or (is_ours and not is_token_alive(rest.partition(".")[0], by_us=key != name)):
                fs.remove_tree(self.locate(other), ignore_errors=True)
                with contextlib.suppress(OSError):  # it was a directory, and is gone
                    fs.unlink(self.locate(other))
            elif rest == "lock" and key != name:
                with contextlib.suppress(OSError):
                    self._remove_dead_lock(key)
            elif rest.startswith("parts") and self.trees.fullmatch(key):
                with contextlib.suppress(OSError):  # what cannot be removed now goes another time
                    self._remove_old_parts(key, other)

    def _remove_dead_lock(self, key: str) -> None:
        """Remove the lock of one who died when all was done: nobody waits for it."""
        path = self.locate(f"{key}.lock")
        word = LockOwner.read(path).word
        if word.startswith(TOKEN_PREFIXES) and not is_token_alive(word, by_us=True):
            lock = locking_lock.try_acquire(path) or locking_lock.try_acquire(path)  # the first removes the file
            if lock is not None:
                lock.release()

    def _remove_old_parts(self, key: str, parts: str) -> None:
        """Remove an unfinished download that nobody continued for a day; whoever holds its lock may be about to."""
        tree = self.locate(parts)
        newest_s = max(os.lstat(f"{tree}/{path}").st_mtime for path in (".", *fs.walk(tree)))
        if time.time() - newest_s > PARTIAL_TTL_S and (lock := locking_lock.try_acquire(self.locate(f"{key}.lock"))):
            try:
                self._remove(parts)
            finally:
                lock.release()

    @contextlib.contextmanager
    def _telling(self, deed: str) -> Iterator[None]:
        try:
            yield
        except CacheError:
            raise
        except OSError as error:
            raise self._error(deed, error) from error

    def _error(self, deed: str, error: OSError) -> CacheError:
        fix = "Name a directory that you may write: TFHUB_CACHE_DIR, for names TFIMM_HOME, or --cache-dir."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = "Free some space there, or set TFHUB_CACHE_DIR to another disk."
        elif error.errno == errno.EIO:
            fix = "That disk fails: set TFHUB_CACHE_DIR to another one."
        elif deed == "write" and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            fix += " What lies here can still be read: add it to TFIMM_RESOLVER_EXTRA_ROOTS."
        return CacheError(
            f"cannot {deed} the cache at {self.place}: {error.strerror}{f': {error.filename}' if error.filename else ''}",
            fix=fix,
        )
