"""Who holds the lock of a model, whether they live, how long to wait for them, and what the names of what they left tell."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
import zlib
from dataclasses import dataclass

from tfimm_resolver import progress, record, settings

log = logging.getLogger("tfimm_resolver")

FLOCK = "flock-"
"""Begins the last word of a lock file whose writer holds a kernel lock, or is dead."""

SOFT = "soft-"
"""Begins the last word of a lock file that is itself the lock, where the kernel has none."""

OURS = (FLOCK, SOFT)

SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""How a lock file is opened: in a shared root anybody may have put a link or a pipe there."""

_LOOK_S = 0.5
_TELL_S, _TELL_AGAIN_S = 2.0, 60.0

_ours: set[str] = set()
"""How the words end with which this process has locks or wants them; in containers the id of a dead process is soon ours."""


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
    def parse(cls, text: str) -> Holder:
        """Whom a text names; nobody if it is not such a text."""
        rest, _, word = text.rpartition(".")
        host, _, pid = rest.rpartition(".")
        # It becomes part of a path, and in a shared root anybody may have written it.
        is_sound = pid.isdecimal() and re.fullmatch(r"[\w-]{1,100}", word)
        return cls(host, int(pid), word) if is_sound else cls()

    @classmethod
    def read(cls, path: str) -> Holder:
        """Whom the file names; nobody if it is gone, empty or may not be read."""
        try:
            file = os.open(path, os.O_RDONLY | SAFELY)
        except OSError:
            return cls()
        try:
            return cls.read_open(file)
        finally:
            os.close(file)

    @classmethod
    def read_open(cls, file: int) -> Holder:
        """Whom the open file names."""
        try:
            os.lseek(file, 0, os.SEEK_SET)
            return cls.parse(os.read(file, 1000).decode("utf-8", "replace"))
        except OSError:
            return cls()

    def softened(self) -> Holder:
        """The same where the kernel has no locks: the word must not promise one."""
        return Holder(self.host, self.pid, SOFT + self.word.removeprefix(FLOCK))

    def to_text(self) -> str:
        return f"{self.host}.{self.pid}.{self.word}"

    def is_gone(self, *, is_flocked: bool) -> bool:
        """Whether the writer of a lock file is known to be dead.

        ``is_flocked`` says that we have the kernel's lock on the file. Then a writer who promises one is dead, wherever
        it ran. Plain tensorflow_hub promises none, nor does a machine whose kernel has none on this root.
        """
        if is_flocked and (not self.word or self.word.startswith(FLOCK)):
            return True
        if not self.word or self.host != _hostname():
            return False
        if self.pid == os.getpid() and self.word.startswith(SOFT):
            return _end(self.word) not in _ours
        return not _is_running(self.pid)

    def enter(self) -> None:
        """Note that this process has, or wants, a lock with that word."""
        _ours.add(_end(self.word))

    def leave(self) -> None:
        """Note that it does so no more."""
        _ours.discard(_end(self.word))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.word else "an unknown process"


class Patience:
    """Waits for a holder: says so, and runs out when it gives no sign of life for too long.

    A sign of life is another holder, or any change of what is fetched: of the staged files or of the parts.
    """

    def __init__(self, prefix: str, what: str) -> None:
        self._prefix = prefix
        self._what = what
        self._sign: object = None
        self._came_bytes = 0
        self._looked_s = self._alive_s = time.monotonic()
        self._tell_s = self._looked_s + _TELL_S
        self._is_told = False

    def is_out(self, holder: Holder) -> bool:
        """Whether to wait no longer; asked again and again while waiting."""
        return self.silent_s(holder) > settings.lock_timeout_s()

    def silent_s(self, holder: Holder) -> float:
        """Seconds since the last sign of life."""
        now_s = time.monotonic()
        if now_s - self._looked_s > _LOOK_S:
            self._looked_s = now_s
            staged, parts = self._look(f"{self._actual(holder).word}.tmp"), self._look("parts")
            self._came_bytes = parts[0] or staged[0]
            sign = (holder, staged, parts)
            if sign != self._sign:
                self._sign, self._alive_s = sign, now_s
            if now_s >= self._tell_s:
                self._tell_s = now_s + _TELL_AGAIN_S
                self._tell(holder)
        return now_s - self._alive_s

    def _tell(self, holder: Holder) -> None:
        holder = self._actual(holder)
        since = ""
        with contextlib.suppress(OSError):
            since = time.strftime(" since %H:%M:%S", time.localtime(os.stat(f"{self._prefix}.lock").st_mtime))
        came = f": {progress.in_words(self._came_bytes)} so far" if self._is_told else ""
        still = "still " if self._is_told else ""
        self._is_told = True
        log.warning("%swaiting for %s, which has been fetching %s%s%s", still, holder, self._what, since, came)

    def _actual(self, holder: Holder) -> Holder:
        """Who stages files: another one where a lock file is another user's, and could not be written by who took it."""
        if os.path.isdir(f"{self._prefix}.{holder.word}.tmp"):
            return holder
        folder, name = os.path.split(self._prefix)
        with contextlib.suppress(OSError):
            for other in os.listdir(folder):
                key, _, rest = other.partition(".")
                word = rest.removesuffix(".tmp")
                if key == name and rest.startswith(OURS) and rest != word and is_word_alive(word, by_us=True):
                    pid, host = word.split("-")[1:3]
                    return Holder(_hostname() if host == _host_hash() else "another machine", int(pid), word)
        return holder

    def _look(self, rest: str) -> tuple[int, int]:
        """How many bytes lie in a tree, and when the last of them came."""
        size_bytes, newest_ns, tree = 0, 0, f"{self._prefix}.{rest}"
        with contextlib.suppress(OSError):  # it may be gone, or go while we look
            for path in (".", *record.walk(tree)):
                status = os.stat(f"{tree}/{path}")
                size_bytes += status.st_size * (path != ".")
                newest_ns = max(newest_ns, status.st_mtime_ns)
        return size_bytes, newest_ns


def new_word() -> str:
    """``flock-<pid>-<hash of the host>-<hex>``: whose it is can be told from the name of what it left."""
    return f"{FLOCK}{os.getpid()}-{_host_hash()}-{os.urandom(8).hex()}"


def is_word_alive(word: str, *, by_us: bool) -> bool:
    """Whether the process that made the word may still live; of other hosts it is believed, of this process as told.

    Words with which this process has locks, or wants them, it knows by itself.
    """
    pid, host, _ = (word.removeprefix(FLOCK).removeprefix(SOFT) + "--").split("-", 2)
    if not pid.isdecimal() or host != _host_hash():
        return pid.isdecimal()
    return by_us or _end(word) in _ours if int(pid) == os.getpid() else _is_running(int(pid))


def _end(word: str) -> str:
    """What is the same in a word that promises a kernel lock and in the softened one."""
    return word.rpartition("-")[2]


def _hostname() -> str:
    import socket  # 3 ms that only a miss costs

    return socket.gethostname()


def _host_hash() -> str:
    return f"{zlib.crc32(_hostname().encode()):08x}"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[:1] != ["Z"]  # dead, and nobody has asked for its exit code yet
    return True
