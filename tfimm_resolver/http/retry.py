"""When a failed request is repeated, and after how long."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import TypeVar

from tfimm_resolver import settings
from tfimm_resolver.errors import FetchError, OfflineError, TransferTimeoutError

log = logging.getLogger("tfimm_resolver")

_BACKOFF_INITIAL_S, _BACKOFF_MAX_S = 0.5, 30.0
_RETRY_AFTER_MAX_S = 600.0
_PROGRESS_BYTES = 1 << 16
_WARN_IF_DELAY_OVER_S = 2.0

_Result = TypeVar("_Result")


class RestartDownloadError(Exception):
    """What came is of no use, and the whole has to be asked for again.

    Attributes:
        error: what to say if that does not help either.
        is_plain: ask without ranges.
        has_changed: another version of the body was met.
        came_bytes: how much had come.
    """

    def __init__(
        self,
        text: str,
        *,
        cause: FetchError | None = None,
        is_plain: bool = False,
        has_changed: bool = False,
        came_bytes: int = 0,
    ) -> None:
        super().__init__(text)
        self.error = cause or FetchError(text, fix="Try again.", is_passing=True)
        self.is_plain, self.has_changed, self.came_bytes = is_plain, has_changed, came_bytes


def retry(deed: Callable[[], _Result]) -> _Result:
    """What a deed gives, which is done again after a failure that may pass.

    Raises:
        FetchError: what the last try raised.
    """
    tries = RetryPolicy()
    while True:
        try:
            return deed()
        except FetchError as error:
            tries.after(error)


class RetryPolicy:
    """Counts failures in a row; any real progress between two of them begins the count anew."""

    def __init__(self, stopped: threading.Event | None = None, *, has_begun: bool = False) -> None:
        """``stopped`` ends a pause early; ``has_begun``: the place has answered before."""
        self._failures = 0
        self._has_begun = has_begun
        self._stopped = stopped or threading.Event()

    def after(self, error: FetchError, came_bytes: int = 0, *, is_kept: bool = True) -> None:
        """Return when it is time to try again; ``came_bytes`` came before this failure, and need not come again if kept.

        Raises:
            FetchError: the same error, if it will not pass, or was met too often.
        """
        self._has_begun = self._has_begun or came_bytes > 0
        if is_kept and came_bytes >= _PROGRESS_BYTES:
            self._failures = 0
        self._failures += 1
        if self._stopped.is_set():
            return
        if not error.is_passing or self._failures > self._most(error):
            try:
                raise error.retold(f"{error.text}\n  tried {self._failures} times") if self._failures > 1 else error
            finally:
                del error  # its traceback holds this frame: together they would keep the connection open
        pause_s = self._pause_s(error)
        level = logging.WARNING if pause_s > _WARN_IF_DELAY_OVER_S else logging.INFO
        log.log(level, "%s; trying again in %.1f s (%d of %d)", error.text, pause_s, self._failures, self._most(error))
        self._stopped.wait(pause_s)

    def _most(self, error: FetchError) -> int:
        if isinstance(error, (OfflineError, TransferTimeoutError)) and not self._has_begun:
            return 0  # who is offline wants to know it at once
        # A timeout costs its whole length each time.
        return min(1, settings.retries()) if isinstance(error, TransferTimeoutError) else settings.retries()

    def _pause_s(self, error: FetchError) -> float:
        if error.retry_after_s is None:
            pause_s: float = min(_BACKOFF_MAX_S, _BACKOFF_INITIAL_S * 2 ** (self._failures - 1))
            return pause_s * random.uniform(0.5, 1)
        if error.retry_after_s > _RETRY_AFTER_MAX_S:
            raise FetchError(
                f"{error.text}\n  it asks to be left alone for {error.retry_after_s:.0f} s",
                fix="Try again after that time.",
                is_passing=True,
                status=error.status,
                retry_after_s=error.retry_after_s,
            )
        return error.retry_after_s
