"""Who holds the lock of a model, whether they live, and what can be told from the names of what they left."""

from __future__ import annotations

import contextlib
import logging
import os
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfimm_resolver import record, settings

if TYPE_CHECKING:
    from filelock import BaseFileLock

log = logging.getLogger("tfimm_resolver")

OURS = "flock-"
"""Begins the last word of our lock files: their writer holds a kernel lock, or is dead."""

_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Holder:
    """What a lock file says: ``host.pid.word``, as tensorflow_hub writes it; the word names the staging directory."""

    host: str = ""
    pid: int = 0
    word: str = ""

    @classmethod
    def new(cls) -> Holder:
        """This process, with a word of its own."""
        return cls(_hostname(), os.getpid(), new_word())

    @classmethod
    def read(cls, path: str) -> Holder:
        """Whom the file names; nobody if it is gone or empty."""
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                rest, _, word = file.read().rpartition(".")
            host, _, pid = rest.rpartition(".")
            return cls(host, int(pid), word)
        except (FileNotFoundError, ValueError):
            return cls()

    def to_text(self) -> str:
        return f"{self.host}.{self.pid}.{self.word}"

    def is_gone(self) -> bool:
        """Whether the writer of a file that nobody has flocked is known to be dead; plain tensorflow_hub has no flock."""
        if not self.word or self.word.startswith(OURS):
            return True
        return self.host == _hostname() and not _is_running(self.pid)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.word else "an unknown process"


class Patience:
    """Runs out when a holder gives no sign of life for too long: its name and the size of what it fetched stay the same."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._sign: object = None
        self._looked_s = self._alive_s = time.monotonic()
        self._is_told = False

    def is_out(self, holder: Holder) -> bool:
        """Whether to wait no longer; asked again and again while waiting."""
        now_s = time.monotonic()
        if now_s - self._looked_s > _LOOK_S:
            self._looked_s = now_s
            sign = (holder, _size_bytes(f"{self._prefix}.{holder.word}.tmp"))
            if sign != self._sign:
                self._sign, self._alive_s = sign, now_s
            if not self._is_told:
                self._is_told = True
                log.info("waiting for %s, which is fetching the same model", holder)
        return now_s - self._alive_s > settings.lock_timeout_s()


def new_word() -> str:
    """``flock-<pid>-<hash of the host>-<hex>``: whose it is can be told from the name of what it left."""
    return f"{OURS}{os.getpid()}-{zlib.crc32(_hostname().encode()):08x}-{os.urandom(8).hex()}"


def is_word_alive(word: str, *, by_us: bool) -> bool:
    """Whether the process that made the word may still live; of other hosts it is believed, of this process as told.

    In containers the process id of a dead one is soon ours.
    """
    pid, host, _ = (word.removeprefix(OURS) + "--").split("-", 2)
    if not pid.isdigit() or host != f"{zlib.crc32(_hostname().encode()):08x}":
        return pid.isdigit()
    return by_us if int(pid) == os.getpid() else _is_running(int(pid))


def try_lock(path: str) -> BaseFileLock | None:
    """The kernel lock on a file, made if need be; None while somebody else has it."""
    from filelock import FileLock, Timeout  # 36 ms that only a miss costs

    # No soft lock in place of a missing flock: what is said of the word in its file would not be true.
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    except PermissionError:
        if not os.path.exists(path):
            raise
        return None  # another user's, in a root that is shared
    return lock


def _hostname() -> str:
    import socket  # 3 ms that only a miss costs

    return socket.gethostname()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _size_bytes(tree: str) -> int:
    with contextlib.suppress(OSError):  # it may be gone, or go while we look
        return sum(os.stat(f"{tree}/{path}").st_size for path in record.walk(tree))
    return -1
