"""How long to wait for the owner of a lock."""

from __future__ import annotations

import contextlib
import logging
import os
import time

from tfimm_resolver import settings
from tfimm_resolver._util import fs, text
from tfimm_resolver.locking.owner import TOKEN_PREFIXES, LockOwner, _host_hash, _hostname, is_token_alive

log = logging.getLogger("tfimm_resolver")


_LOOK_S = 0.5
_TELL_S, _TELL_AGAIN_S = 2.0, 60.0


class StaleLockDetector:
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

    def is_out(self, holder: LockOwner) -> bool:
        """Whether to wait no longer; asked again and again while waiting."""
        return self.silent_s(holder) > settings.lock_timeout_s()

    def silent_s(self, holder: LockOwner) -> float:
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

    def _tell(self, holder: LockOwner) -> None:
        holder = self._actual(holder)
        since = ""
        with contextlib.suppress(OSError):
            since = time.strftime(" since %H:%M:%S", time.localtime(os.stat(f"{self._prefix}.lock").st_mtime))
        came = f": {text.format_size(self._came_bytes)} so far" if self._is_told else ""
        still = "still " if self._is_told else ""
        self._is_told = True
        log.warning("%swaiting for %s, which has been fetching %s%s%s", still, holder, self._what, since, came)

    def _actual(self, holder: LockOwner) -> LockOwner:
        """Who stages files: another one where a lock file is another user's, and could not be written by who took it."""
        if os.path.isdir(f"{self._prefix}.{holder.word}.tmp"):
            return holder
        folder, name = os.path.split(self._prefix)
        with contextlib.suppress(OSError):
            for other in os.listdir(folder):
                key, _, rest = other.partition(".")
                word = rest.removesuffix(".tmp")
                if key == name and rest.startswith(TOKEN_PREFIXES) and rest != word and is_token_alive(word, by_us=True):
                    pid, host = word.split("-")[1:3]
                    return LockOwner(_hostname() if host == _host_hash() else "another machine", int(pid), word)
        return holder

    def _look(self, rest: str) -> tuple[int, int]:
        """How many bytes lie in a tree, and when the last of them came."""
        size_bytes, newest_ns, tree = 0, 0, f"{self._prefix}.{rest}"
        with contextlib.suppress(OSError):  # it may be gone, or go while we look
            for path in (".", *fs.walk(tree)):
                status = os.stat(f"{tree}/{path}")
                size_bytes += status.st_size * (path != ".")
                newest_ns = max(newest_ns, status.st_mtime_ns)
        return size_bytes, newest_ns
