"""Locks between processes: a kernel lock (flock), or, on file systems without them, a lock file created exclusively.

Either way the lock file appears complete: it is written, and flocked, under a temporary name, then linked to the lock's.
Machines with kernel locks on a root and machines without respect each other's lock files and those of plain tensorflow_hub.
One machine of each kind may take over from a dead owner at the same time: that costs a second download, but no file.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.cancellation import get_current_token
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import CacheError, LockTimeoutError
from tfimm_resolver.locking.liveness import StaleLockDetector
from tfimm_resolver.locking.lock_file import HARDLINK_UNSUPPORTED, LockFile
from tfimm_resolver.locking.owner import LockOwner
from tfimm_resolver.progress.events import report_wait

log = logging.getLogger("tfimm_resolver")

CLAIM_PREFIX = "claim-"
"""Prefix, after the entry's name and a dot, of files that say which process may remove the lock of a dead owner."""

_POLL_S = 0.05
_FIX = "End that process, or raise TFIMM_RESOLVER_LOCK_TIMEOUT_S."

_warned: set[str] = set()


class Lock:
    """A lock that is held; ``owner`` is what this process wrote into the lock file, if it could."""

    def __init__(self, path: str, owner: LockOwner, file: LockFile) -> None:
        self.owner = owner
        self._path = path
        self._file = file

    def release(self) -> None:
        """Unlink the lock file, if it is still ours, then release the lock; in this order, so that waiters notice."""
        if os.getpid() != self.owner.pid:
            return  # in a child that was forked while the lock was held
        is_left = True
        try:
            is_left = not self._try_unlink()
        finally:
            self.owner.unregister()
            self._file.close()
        if is_left:
            self._try_unlink()

    def _try_unlink(self) -> bool:
        """Unlink the lock file if it is still ours; return False if that is not possible.

        It is not for another user's file under a sticky bit; while it is open, on Windows and on mounts that cannot rename.
        """
        if LockOwner.read(self._path) == self.owner:
            try:
                os.unlink(self._path)
            except OSError:
                return False
        return True


def acquire(path: str, what: str = "", is_already_done: Callable[[], bool] = lambda: False) -> Lock | None:
    """Wait for the lock at ``path``, which ends in ``.lock``, and take it; messages about the wait say ``what`` it is for.

    Return None once the work ``is_already_done``, so that many waiters for the same work need not take the lock in turn.

    Raises:
        LockTimeoutError: if an owner was inactive for too long, and is not known to be dead.
        CacheError: if the owner is dead, and its lock file belongs to another user and may not be removed.
    """
    acquisition = _LockAcquisition(path, what)
    try:
        return acquisition.wait(is_already_done)
    except BaseException:
        acquisition.cancel()
        raise


def try_acquire(path: str) -> Lock | None:
    """Take the lock if that is possible without waiting; else return None."""
    acquisition = _LockAcquisition(path, "")
    lock = None
    try:
        lock = acquisition.try_take_over() or acquisition.try_create()
    finally:
        if lock is None:
            acquisition.cancel()
    return lock


class _LockAcquisition:
    """One attempt to take a lock."""

    def __init__(self, path: str, what: str) -> None:
        self._path = path
        self._prefix = path.removesuffix(".lock")
        self._detector = StaleLockDetector(self._prefix, what or "the same model")
        self._owner = LockOwner.new()
        self._owner.register()

    def cancel(self) -> None:
        """Stop waiting for the lock."""
        self._owner.unregister()

    def wait(self, is_already_done: Callable[[], bool]) -> Lock | None:
        """Take the lock once no living process holds it; return None if it ``is_already_done`` before."""
        token, has_waited = get_current_token(), False
        while True:
            lock = self.try_take_over() if os.path.lexists(self._path) else self.try_create()
            if lock is not None:
                return lock
            if os.path.lexists(self._path):
                has_waited = has_waited or report_wait(str(LockOwner.read(self._path)))
                token.sleep(_POLL_S)
            if is_already_done():
                self.cancel()
                return None

    def try_create(self) -> Lock | None:
        """Take the lock if the lock file does not exist."""
        if fs.IS_WINDOWS:  # which does not unlink a name of an open file
            return self._try_create_without_link()
        temp_path = f"{self._prefix}.{self._owner.token}.txt"
        file = LockFile.create(temp_path)
        try:
            self._fill(file)
            os.link(temp_path, self._path)
            return Lock(self._path, self._owner, file)
        except BaseException as error:
            file.close()
            if isinstance(error, FileExistsError):
                return None
            if not isinstance(error, OSError) or error.errno not in HARDLINK_UNSUPPORTED:
                raise
        finally:
            fs.unlink(temp_path)
        return self._try_create_without_link()

    def _try_create_without_link(self) -> Lock | None:
        """Take the lock without hard links: for a moment the file is empty, which means an unknown owner."""
        try:
            file = LockFile.create(self._path)
        except FileExistsError:
            return None
        acquired = False
        try:
            # A process that saw the file before it was flocked took its owner for dead.
            acquired = self._fill(file) and self._is_current(file, self._owner)
        except BaseException:
            if self._is_current(file, self._owner):
                fs.unlink(self._path)
            raise
        finally:
            if not acquired:
                file.close()
        return Lock(self._path, self._owner, file) if acquired else None

    def _fill(self, file: LockFile) -> bool:
        """Flock a new file and write the owner into it; return False if another process flocked it first."""
        is_flocked = file.try_flock()
        if is_flocked is None:
            _warn_once(os.path.dirname(self._path))
            self._owner = self._owner.as_soft_lock()
        others = os.stat(os.path.dirname(self._path)).st_mode & 0o022
        if others and hasattr(os, "fchmod"):
            # Whatever the umask: users who can write in the root must be able to take over if this process dies.
            os.fchmod(file.fd, 0o644 | others)
        file.write(self._owner.to_text())
        return is_flocked is not False

    def try_take_over(self) -> Lock | None:
        """Take over the lock of a dead owner if its file cannot be removed.

        If it can be removed, it is, and ``try_create`` can take the lock.
        """
        try:
            file = LockFile.open(self._path)
        except FileNotFoundError:
            return None
        except PermissionError:
            user = _get_user_name(self._path)
            text = f"{self._path} belongs to {user} and cannot be read; a running process may hold it"
            self._check_timeout(LockOwner(), text, fix=_format_removal_fix(user))
            return None
        lock = None
        try:
            lock = self._try_take_over_open(file)
        finally:
            if lock is None:
                file.close()
        return lock

    def _try_take_over_open(self, file: LockFile) -> Lock | None:
        is_flocked = file.try_flock()
        owner = LockOwner.read_open(file.fd)
        if is_flocked is False:
            self._check_timeout(owner, f"{owner} holds {self._path}")
        elif not owner.is_dead(is_flocked=is_flocked is True) and not self._detector.has_timed_out(owner):
            pass  # plain tensorflow_hub, or another machine: it may be alive
        elif is_flocked is None:
            self._break_stale_lock(owner)
        elif self._is_current(file, owner):
            try:
                os.unlink(self._path)
            except PermissionError:
                # Another user's file under a sticky bit, or Windows: the kernel lock on it is enough.
                with contextlib.suppress(OSError):
                    file.write(self._owner.to_text())
                return Lock(self._path, self._owner, file)
        return None

    def _is_current(self, file: LockFile, owner: LockOwner) -> bool:
        """Whether the path still names the file, compared by token: some network file systems change inode numbers."""
        return LockOwner.read(self._path) == owner if owner.token else file.is_same_file(self._path)

    def _break_stale_lock(self, owner: LockOwner) -> None:
        """Remove the lock file of a dead owner, without a kernel lock that decides which process may.

        The right to do so is passed down a chain: a claim file, named by the dead owner's token, names its successor, and if
        that one is dead, too, its token names the next claim file. No claim is removed before the lock file that it is about,
        and no token is used twice, so two living processes never both have the right.
        """
        claims = [f"{self._prefix}.{CLAIM_PREFIX}{owner.token}"]
        while not self._try_claim_takeover(claims[-1]):
            successor = LockOwner.read(claims[-1])
            if not successor.is_dead(is_flocked=False):
                text = f"{successor} is breaking the stale lock {self._path} (see {claims[-1]})"
                self._check_timeout(successor, text, times=2)
                return
            claims.append(f"{self._prefix}.{CLAIM_PREFIX}{successor.token}")
        try:
            if LockOwner.read(self._path) == owner:
                fs.unlink(self._path)
        except PermissionError as error:
            user = _get_user_name(self._path)
            raise CacheError(
                f"{show(self._path)} is a stale lock: {owner} has ended; only {user} can remove the file",
                fix=_format_removal_fix(user),
            ) from error
        finally:
            for claim in claims:
                with contextlib.suppress(OSError):
                    os.unlink(claim)

    def _try_claim_takeover(self, claim: str) -> bool:
        """Try to create a claim file; return whether it is ours. With hard links, it appears with its contents."""
        temp_path, text = f"{self._prefix}.{self._owner.token}.txt", self._owner.to_text()
        try:
            _write(temp_path, text)
            os.link(temp_path, claim)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in HARDLINK_UNSUPPORTED:
                raise
            try:
                _write(claim, text)
            except FileExistsError:
                return False
        finally:
            fs.unlink(temp_path)
        return True

    def _check_timeout(self, owner: LockOwner, text: str, *, times: int = 1, fix: str = _FIX) -> None:
        """Raise LockTimeoutError if the owner has been inactive for ``times`` the lock timeout."""
        if self._detector.seconds_since_activity(owner) > times * settings.lock_timeout_s():
            raise LockTimeoutError(f"{text}; its download made no progress for {settings.lock_timeout_s():g} s", fix=fix)


def _write(path: str, text: str) -> None:
    with open(path, "x", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def _warn_once(directory: str) -> None:
    if directory not in _warned:
        _warned.add(directory)
        log.warning("%s does not support flock: falling back to lock files alone", directory)


def _format_removal_fix(user: str) -> str:
    return f"Ask {user} to remove it, or set TFHUB_CACHE_DIR to a directory of your own."


def _get_user_name(path: str) -> str:
    """Return the name of the user who owns a file, for messages."""
    try:
        import pwd

        return pwd.getpwuid(os.lstat(path).st_uid).pw_name
    except (ImportError, KeyError, OSError):
        return "another user"
