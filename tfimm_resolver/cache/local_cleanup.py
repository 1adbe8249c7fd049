"""Removes from a local root what is no longer needed: replaced models, partial downloads, and files of dead processes."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterable, Sequence

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.removal import remove_tree_without_rename
from tfimm_resolver.cache.last_use import get_last_use_s
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, KEEP_SUFFIX
from tfimm_resolver.errors import CacheError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.errors.os_errors import is_disk_full
from tfimm_resolver.locking import use_lock
from tfimm_resolver.locking.lock import CLAIM_PREFIX, try_acquire
from tfimm_resolver.locking.owner import PARTS, TOKEN_PREFIXES, LockOwner, is_token_alive, new_token

REPLACED_TTL_S = 3600.0
"""Seconds for which a replaced directory is kept for processes that still read it."""

PARTIAL_TTL_S = 24 * 3600.0
"""Seconds for which a partial download of another model is kept, so that it can be resumed."""

_FORCE = "If no process on any machine uses it,"
_RECORD_ENDING = DESCRIPTOR_SUFFIX.removeprefix(".")


class Cleaner:
    """Removes files and directories of one local root; a directory that a process uses is never removed."""

    def __init__(self, path: str, entry_pattern: re.Pattern[str]) -> None:
        self.path, self._entry_pattern = path, entry_pattern

    def path_of(self, name: str) -> str:
        return f"{self.path}/{name}"

    def remove(self, name: str) -> None:
        """Remove a directory or a text atomically, if it exists."""
        path = self.path_of(name)
        if os.path.isdir(path) and not os.path.islink(path):
            if (trash := self.move_to_trash(name)) is not None:
                self.empty_trash(trash)
            return
        fs.unlink(path)

    def move_to_trash(self, name: str) -> str | None:
        """Rename a directory, so that no process sees a partly removed one under its name; return the new path.

        None if it is gone already: it did not exist, or could not be renamed and was removed.
        """
        path, trash_path = self.path_of(name), self.path_of(f"{name.partition('.')[0]}.{new_token()}.tmp")
        try:
            fs.durable_rename(path, trash_path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.EXDEV:
                remove_tree_without_rename(path)
                return None
            self.empty_trash(trash_path)  # the rename may have succeeded, and only its fsync failed
            raise
        return trash_path

    def empty_trash(self, trash_path: str) -> None:
        """Remove a renamed directory, or link to one; what cannot be removed, such as a file that NFS has open, is left."""
        if os.path.islink(trash_path):
            with contextlib.suppress(OSError):
                fs.unlink(trash_path)
            return
        fs.remove_tree(trash_path, ignore_errors=True)

    def try_remove_tree(self, tree: str, *, give_up: bool = False, is_unknown: bool = False) -> bool:
        """Remove a directory unless a process uses it or this user may not; return whether it no longer exists.

        With ``give_up``, this process's own use does not count; with ``is_unknown``, no process can have used it lately.
        """
        with contextlib.ExitStack() as stack:
            restore = stack.enter_context(_OwnUse())
            exclusion = self._try_exclude(stack, tree, restore if give_up else None)
            if exclusion is None or not self.is_removable(tree):
                return False
            if not is_unknown and not exclusion.is_enforced and self._find_recent_use_s(tree) is not None:
                return False
            restore.forget()
            self.remove(tree)
        return True

    def remove_entry(self, name: str, trees: Sequence[str], parts: str, *, force: bool = False) -> None:
        """Remove all directories of an entry, its partial download and its record; this process's own use does not count.

        Raises:
            CacheError: if another process uses one of the directories, or, unless ``force``, may use one on a disk whose
                locks would not tell; then nothing was removed.
            PermissionError: if this user may not remove one; then nothing was removed.
        """
        with contextlib.ExitStack() as stack:
            restore = stack.enter_context(_OwnUse())
            for tree in trees:
                self._exclude_for_removal(stack, tree, restore, force=force)
            restore.forget()
            # The record last: without it, a damaged directory could pass for one that was put there by hand.
            for other in (*trees, parts, name + KEEP_SUFFIX, name + DESCRIPTOR_SUFFIX):
                self.remove(other)

    def check_removal(self, trees: Sequence[str], *, force: bool = False) -> None:
        """Check whether ``remove_entry`` would remove these directories now, without removing them; raises as it does."""
        for tree in trees:
            path = self.path_of(tree)
            with contextlib.ExitStack() as stack:
                is_own = use_lock.is_locked_here(path) and set(use_lock.find_users(path)) <= {os.getpid()}
                self._exclude_for_removal(stack, tree, None, force=force, is_own=is_own)

    def remove_replaced(self, names: Iterable[str], tree_of: Callable[[str], str]) -> None:
        """Remove directories that were replaced long ago and that no process uses; ``tree_of`` returns the current one."""
        trees = [found for other in names if (found := self._entry_pattern.fullmatch(other))]
        several = {found[1] for found in trees if found[2]}
        now_s: float | None = None
        for found in trees:
            if found[1] not in several:  # almost always: no need to look at it
                continue
            with contextlib.suppress(CacheError, OSError):  # left for a later run
                now_s = self.get_time_s() if now_s is None else now_s
                age_s = now_s - os.stat(self.path_of(found[0])).st_mtime
                if age_s > REPLACED_TTL_S and found[0] != tree_of(found[1]):
                    self.try_remove_tree(found[0])

    def remove_leftovers(self, name: str, names: Iterable[str]) -> None:
        """Remove files of dead processes: plain tensorflow_hub's for this entry, this package's for any entry."""
        for other in names:
            key, _, rest = other.partition(".")
            if not rest or rest == _RECORD_ENDING:  # almost all: a publish should not take longer in a full cache
                continue
            is_hubs = key == name and rest.endswith(".tmp") and not rest.startswith(TOKEN_PREFIXES)
            is_claim = key == name and rest.startswith(CLAIM_PREFIX)
            has_token = rest.startswith(TOKEN_PREFIXES)
            if is_hubs or is_claim or (has_token and not is_token_alive(rest.partition(".")[0], assume_own_alive=key != name)):
                fs.remove_tree(self.path_of(other), ignore_errors=True)
                with contextlib.suppress(OSError):  # which was a directory
                    fs.unlink(self.path_of(other))
            elif rest == "lock" and key != name:
                with contextlib.suppress(OSError):
                    self._remove_dead_lock(key)
            elif rest.startswith(PARTS) and self._entry_pattern.fullmatch(key):
                with contextlib.suppress(OSError):  # left for a later run
                    self._remove_old_parts(key, other)

    def get_time_s(self) -> float:
        """Return the time by the clock of the file system, which may be another machine's, for comparison with its files."""
        path = self.path_of(f"tfimm_resolver.{new_token()}.txt")
        try:
            descriptor = fs.open_regular(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            try:
                return os.fstat(descriptor).st_mtime
            finally:
                os.close(descriptor)
        except OSError as error:
            if not is_disk_full(error):
                raise
            os.utime(self.path)  # a full disk, or one without inodes, has no room for another file
            return os.stat(self.path).st_mtime
        finally:
            fs.unlink(path)

    def is_removable(self, name: str) -> bool:
        """Whether this user may remove everything in a directory, which another user may own; one that is gone counts."""
        tree = self.path_of(name)
        folders = (tree, *(f"{tree}/{folder}" for folder in fs.walk(tree, folders=True)))
        return all(os.access(path, os.W_OK | os.X_OK) for path in folders if os.path.isdir(path) and not os.path.islink(path))

    def _exclude_for_removal(
        self, stack: contextlib.ExitStack, tree: str, own_use: _OwnUse | None, *, force: bool, is_own: bool = False
    ) -> None:
        """Take the right to remove a directory; with ``is_own``, only this process uses it, and keeps its use.

        Raises:
            CacheError: if another process uses it, or may use it.
            PermissionError: if this user may not remove it.
        """
        path = self.path_of(tree)
        exclusion = None if is_own else self._try_exclude(stack, tree, own_use)
        if exclusion is None and not is_own:
            raise _make_in_use_error(path)
        is_enforced = exclusion is None or exclusion.is_enforced
        if not force and not is_enforced and (used_s := self._find_recent_use_s(tree)) is not None:
            raise _make_recent_use_error(path, used_s)
        if not self.is_removable(tree):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    def _try_exclude(self, stack: contextlib.ExitStack, tree: str, own_use: _OwnUse | None) -> use_lock.Exclusion | None:
        """Take the right to remove a directory, if it exists; return None if a process uses it.

        With ``own_use``, this process's own use is given up for it.
        """
        path = self.path_of(tree)
        if own_use is not None:
            own_use.give_up(path)
        try:
            exclusion = use_lock.try_exclude(path)
        except (FileNotFoundError, NotADirectoryError):
            exclusion = use_lock.Exclusion(None)
        if exclusion is not None:
            stack.enter_context(exclusion)
            if own_use is not None:
                stack.callback(own_use.restore, path, exclusion)
        return exclusion

    def _find_recent_use_s(self, tree: str) -> float | None:
        """Return how many seconds ago a directory was used, if a process may use it still although no lock says so; else None.

        An open file keeps Windows from removing it, whatever its age.
        """
        if fs.IS_WINDOWS:
            return None
        try:
            used_s = self.get_time_s() - get_last_use_s(self.path_of(tree))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return used_s if used_s < settings.grace_s(has_locks=False) else None

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
        if self.get_time_s() - newest_s <= PARTIAL_TTL_S:
            return
        if lock := try_acquire(self.path_of(f"{key}.lock")):
            try:
                self.remove(parts)
            finally:
                lock.release()


class _OwnUse:
    """This process's own use locks, given up for a removal, and taken again at the end of the block unless they are forgotten.

    Otherwise a removal that is refused would leave the process with paths that others may remove.
    """

    def __init__(self) -> None:
        self._paths: list[str] = []

    def __enter__(self) -> _OwnUse:
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._paths:  # those that another process uses, so that no process can have removed them
            self._hold(path)

    def give_up(self, path: str) -> None:
        """Give up the use lock on a directory, if there is one."""
        if use_lock.give_up(path):
            self._paths.append(path)

    def restore(self, path: str, exclusion: use_lock.Exclusion) -> None:
        """Take the use lock on a directory again, before the right to remove it ends."""
        if path in self._paths:
            self._paths.remove(path)
            exclusion.share()
            self._hold(path)

    def forget(self) -> None:
        """Take no lock again: the directories are removed."""
        self._paths.clear()

    def _hold(self, path: str) -> None:
        use_lock.hold(path, settings.grace_s() / 4, touch=False)


def _make_in_use_error(path: str) -> CacheError:
    pids = use_lock.find_users(path)
    users = f"process{'es' * (len(pids) > 1)} {', '.join(map(str, pids))}" if pids else "another process"
    return CacheError(f"{show(path)} is in use by {users}: nothing was removed", fix="Try again once it has ended.")


def _make_recent_use_error(path: str, used_s: float) -> CacheError:
    ago = f"{used_s:.0f} s" if used_s < 120 else f"{used_s / 60:.0f} min" if used_s < 7200 else f"{used_s / 3600:.0f} h"
    text = f"{show(path)} was used {ago} ago, and its disk has no locks that tell whether a process still uses it"
    return CacheError(
        f"{text}: nothing was removed",
        fix=Advice(
            python=f"{_FORCE} pass force=True.",
            command=f"{_FORCE} pass --force.",
        ),
    )
