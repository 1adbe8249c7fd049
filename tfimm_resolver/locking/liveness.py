"""Stale lock detection: how long to wait for a lock's owner, judged by the activity of its download."""

from __future__ import annotations

import contextlib
import logging
import os
import time

from tfimm_resolver import settings
from tfimm_resolver._util import clock, fs, text
from tfimm_resolver.locking.owner import PARTS, TOKEN_PREFIXES, LockOwner, get_host_hash, get_hostname, is_token_alive

log = logging.getLogger("tfimm_resolver")

_POLL_INTERVAL_S = 0.5
_FIRST_WARNING_S, _WARNING_INTERVAL_S = 2.0, 60.0


class StaleLockDetector:
    """Measures how long a lock's owner has been inactive, and logs warnings during a long wait.

    Activity is a change of owner, or any change to its staged files or to the parts of its download.
    """

    def __init__(self, prefix: str, what: str) -> None:
        self._prefix = prefix
        self._what = what
        self._last_state: object = None
        self._received_bytes = 0
        self._polled_s = self._last_activity_s = clock.get_monotonic_s()
        self._next_warning_s = self._polled_s + _FIRST_WARNING_S
        self._has_warned = False

    def has_timed_out(self, owner: LockOwner) -> bool:
        """Whether the owner has been inactive for too long; to be called repeatedly while waiting."""
        return self.seconds_since_activity(owner) > settings.lock_timeout_s()

    def seconds_since_activity(self, owner: LockOwner) -> float:
        """Return the seconds since the owner's last activity, looking for new activity now and then."""
        now_s = clock.get_monotonic_s()
        if now_s - self._polled_s > _POLL_INTERVAL_S:
            self._polled_s = now_s
            staged, parts = self._scan(f"{self._find_staging_owner(owner).token}.tmp"), self._scan(PARTS)
            self._received_bytes = parts[0] or staged[0]
            state = (owner, staged, parts)
            if state != self._last_state:
                self._last_state, self._last_activity_s = state, now_s
            if now_s >= self._next_warning_s:
                self._next_warning_s = now_s + _WARNING_INTERVAL_S
                self._warn(owner)
        return now_s - self._last_activity_s

    def _warn(self, owner: LockOwner) -> None:
        owner = self._find_staging_owner(owner)
        since = ""
        with contextlib.suppress(OSError):
            since = time.strftime(" since %H:%M:%S", time.localtime(os.stat(f"{self._prefix}.lock").st_mtime))
        received = f": {text.format_size(self._received_bytes)} so far" if self._has_warned else ""
        still = "still " if self._has_warned else ""
        self._has_warned = True
        log.warning("%swaiting for %s, which has been fetching %s%s%s", still, owner, self._what, since, received)

    def _find_staging_owner(self, owner: LockOwner) -> LockOwner:
        """Return the process that stages files; it differs from ``owner`` if it took over another user's lock file.

        It could not write its own name into that file.
        """
        if os.path.isdir(f"{self._prefix}.{owner.token}.tmp"):
            return owner
        folder, name = os.path.split(self._prefix)
        with contextlib.suppress(OSError):
            for other in os.listdir(folder):
                key, _, rest = other.partition(".")
                token = rest.removesuffix(".tmp")
                if (
                    key == name
                    and rest.startswith(TOKEN_PREFIXES)
                    and rest != token
                    and is_token_alive(token, assume_own_alive=True)
                ):
                    pid, host = token.split("-")[1:3]
                    return LockOwner(get_hostname() if host == get_host_hash() else "another machine", int(pid), token)
        return owner

    def _scan(self, rest: str) -> tuple[int, int]:
        """Return the total size of a directory's files in bytes, and the newest modification time in nanoseconds."""
        size_bytes, newest_ns, tree = 0, 0, f"{self._prefix}.{rest}"
        with contextlib.suppress(OSError):  # it may not exist, or be removed meanwhile
            for path in (".", *fs.walk(tree)):
                status = os.stat(f"{tree}/{path}")
                size_bytes += status.st_size * (path != ".")
                newest_ns = max(newest_ns, status.st_mtime_ns)
        return size_bytes, newest_ns
