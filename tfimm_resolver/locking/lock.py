"""The right to fill a model: a lock that the kernel frees, or where it has none a file that only one can create.

Either way the lock file appears whole: it is written, and flocked, under a name of its own, then linked to the lock's.
Machines whose kernel has locks on a root, and others that have none there, respect each other's files as they respect
plain tensorflow_hub's. Both may take over from one who died at the same moment: that costs a second download, no file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver.errors import CacheError, LockTimeoutError
from tfimm_resolver.locking.liveness import StaleLockDetector
from tfimm_resolver.locking.lock_file import NO_LINKS, LockFile
from tfimm_resolver.locking.owner import LockOwner

log = logging.getLogger("tfimm_resolver")

CLAIM = "claim-"
"""Begins what follows the name in a file that says who may remove the lock of a dead holder."""

_POLL_S = 0.05
_FIX = "End that process, or set TFIMM_RESOLVER_LOCK_TIMEOUT_S higher."

_told: set[str] = set()


class Lock:
    """A lock that is held; ``mine`` is who its file says has it, where that could be written."""

    def __init__(self, path: str, mine: LockOwner, file: LockFile) -> None:
        self.mine = mine
        self._path = path
        self._file = file

    def release(self) -> None:
        """Take the lock file away, if it is still ours: while it is held, so that a waiter sees that it has no name."""
        if os.getpid() != self.mine.pid:
            return  # in a child that was forked while we held it
        try:
            if LockOwner.read(self._path) == self.mine:
                with contextlib.suppress(OSError):  # another user's, under a sticky bit; open, on Windows
                    os.unlink(self._path)
        finally:
            self.mine.leave()
            self._file.close()


def acquire(path: str, what: str = "", is_needless: Callable[[], bool] = lambda: False) -> Lock | None:
    """Wait for the lock at ``path``, which ends in ``.lock``; ``what`` it is about is told to a person who waits.

    None once it ``is_needless``: many who wait for the same need not have it one after the other.

    Raises:
        LockTimeoutError: if a holder gave no sign of life for too long, and nothing shows that it is dead.
        CacheError: if it is dead, and its lock file belongs to somebody else and may not be removed.
    """
    taker = _LockAcquisition(path, what)
    try:
        return taker.taken(is_needless)
    except BaseException:
        taker.give_up()
        raise


def try_acquire(path: str) -> Lock | None:
    """The lock, if it can be had at once."""
    taker = _LockAcquisition(path, "")
    lock = None
    try:
        lock = taker.inherited() or taker.created()
    finally:
        if lock is None:
            taker.give_up()
    return lock


class _LockAcquisition:
    """One who wants a lock."""

    def __init__(self, path: str, what: str) -> None:
        self._path = path
        self._prefix = path.removesuffix(".lock")
        self._patience = StaleLockDetector(self._prefix, what or "the same model")
        self._mine = LockOwner.new()
        self._mine.enter()

    def give_up(self) -> None:
        """Want it no more."""
        self._mine.leave()

    def taken(self, is_needless: Callable[[], bool]) -> Lock | None:
        """The lock, once no living process has it."""
        while True:
            lock = self.inherited() if os.path.lexists(self._path) else self.created()
            if lock is not None:
                return lock
            if os.path.lexists(self._path):
                time.sleep(_POLL_S)
            if is_needless():
                self.give_up()
                return None

    def created(self) -> Lock | None:
        """The lock, if there is no lock file."""
        if fs.IS_WINDOWS:  # where a file that is open cannot lose one of its names
            return self._created_in_place()
        half = f"{self._prefix}.{self._mine.word}.txt"
        file = LockFile.new(half)
        try:
            self._fill(file)
            os.link(half, self._path)
            return Lock(self._path, self._mine, file)
        except BaseException as error:
            file.close()
            if isinstance(error, FileExistsError):
                return None
            if not isinstance(error, OSError) or error.errno not in NO_LINKS:
                raise
        finally:
            fs.unlink(half)
        return self._created_in_place()

    def _created_in_place(self) -> Lock | None:
        """The same without links: for a moment the file has no text, and is that of an unknown process."""
        try:
            file = LockFile.new(self._path)
        except FileExistsError:
            return None
        is_had = False
        try:
            # Whoever saw it without our flock took it for a dead one's.
            is_had = self._fill(file) and self._is_at(file, self._mine)
        except BaseException:
            if self._is_at(file, self._mine):
                fs.unlink(self._path)
            raise
        finally:
            if not is_had:
                file.close()
        return Lock(self._path, self._mine, file) if is_had else None

    def _fill(self, file: LockFile) -> bool:
        """Flock a new file and write who has it; False if another process flocked it first."""
        is_flocked = file.is_flocked()
        if is_flocked is None:
            _tell_once(os.path.dirname(self._path))
            self._mine = self._mine.softened()
        others = os.stat(os.path.dirname(self._path)).st_mode & 0o022
        if others and hasattr(os, "fchmod"):
            # Who may write in the root may take over when we die, whatever our umask: a lock is no model.
            os.fchmod(file.number, 0o644 | others)
        file.write(self._mine.to_text())
        return is_flocked is not False

    def inherited(self) -> Lock | None:
        """The lock, if it is that of a dead process and cannot be removed; if it can, it is, and ``created`` gives one."""
        try:
            file = LockFile.existing(self._path)
        except FileNotFoundError:
            return None
        except PermissionError:
            owner = _owner(self._path)
            text = f"{self._path} belongs to {owner}, may not be read, and may be held"
            self._bear(LockOwner(), text, fix=f"Ask {owner} to remove it, or set TFHUB_CACHE_DIR to a directory of your own.")
            return None
        lock = None
        try:
            lock = self._inherited(file)
        finally:
            if lock is None:
                file.close()
        return lock

    def _inherited(self, file: LockFile) -> Lock | None:
        is_flocked = file.is_flocked()
        holder = LockOwner.read_open(file.number)
        if is_flocked is False:
            self._bear(holder, f"{holder} holds {self._path}")
        elif not holder.is_gone(is_flocked=is_flocked is True) and not self._patience.is_out(holder):
            pass  # plain tensorflow_hub, or another machine; it may live
        elif is_flocked is None:
            self._take_from(holder)
        elif self._is_at(file, holder):
            try:
                os.unlink(self._path)
            except PermissionError:
                # Another user's, under a sticky bit, or Windows': who has the kernel's lock needs no file of their own.
                with contextlib.suppress(OSError):
                    file.write(self._mine.to_text())
                return Lock(self._path, self._mine, file)
        return None

    def _is_at(self, file: LockFile, holder: LockOwner) -> bool:
        """Whether the path still names the file; by its word, since not every network file system keeps its numbers."""
        return LockOwner.read(self._path) == holder if holder.word else file.is_at(self._path)

    def _take_from(self, holder: LockOwner) -> None:
        """Remove the lock file of a dead holder where no kernel says who may.

        The right is passed down a line: a claim, named by the word of the dead, says who their heir is, and if that one
        is dead, too, its word names the next claim. No claim goes before the lock file that it is about, and no word
        comes twice, so two living processes never both have the right.
        """
        claims = [f"{self._prefix}.{CLAIM}{holder.word}"]
        while not self._is_claimed(claims[-1]):
            heir = LockOwner.read(claims[-1])
            if not heir.is_gone(is_flocked=False):
                self._bear(heir, f"{heir} is about to remove {self._path} (see {claims[-1]})", times=2)
                return
            claims.append(f"{self._prefix}.{CLAIM}{heir.word}")
        try:
            if LockOwner.read(self._path) == holder:
                fs.unlink(self._path)
        except PermissionError as error:
            raise CacheError(
                f"{self._path} was left by {holder}, which is gone, and belongs to {_owner(self._path)}",
                fix=f"Ask {_owner(self._path)} to remove it, or set TFHUB_CACHE_DIR to a directory of your own.",
            ) from error
        finally:
            for claim in claims:
                with contextlib.suppress(OSError):
                    os.unlink(claim)

    def _is_claimed(self, claim: str) -> bool:
        """Whether a claim is ours now; it appears with its text, wherever a file can have two names."""
        half, text = f"{self._prefix}.{self._mine.word}.txt", self._mine.to_text()
        try:
            _write(half, text)
            os.link(half, claim)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            try:
                _write(claim, text)
            except FileExistsError:
                return False
        finally:
            fs.unlink(half)
        return True

    def _bear(self, holder: LockOwner, text: str, *, times: int = 1, fix: str = _FIX) -> None:
        """Wait on, unless there was no sign of life for too long."""
        if self._patience.silent_s(holder) > times * settings.lock_timeout_s():
            raise LockTimeoutError(f"{text}; nothing was fetched for {settings.lock_timeout_s():g} s", fix=fix)


def _write(path: str, text: str) -> None:
    with open(path, "x", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def _tell_once(place: str) -> None:
    if place not in _told:
        _told.add(place)
        log.warning("%s has no kernel locks: who fetches is told by files alone", place)


def _owner(path: str) -> str:
    """Whose a file is, for people."""
    try:
        import pwd

        return pwd.getpwuid(os.lstat(path).st_uid).pw_name
    except (ImportError, KeyError, OSError):
        return "another user"
