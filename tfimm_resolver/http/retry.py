"""Retries with exponential backoff and jitter."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TypeVar

from tfimm_resolver import settings
from tfimm_resolver._util import clock
from tfimm_resolver._util.cancellation import CancellationToken, get_current_token
from tfimm_resolver._util.retry import Failure, find_failures
from tfimm_resolver.errors import FetchError, OfflineError, TransferTimeoutError
from tfimm_resolver.progress.events import emit, get_current_operation

log = logging.getLogger("tfimm_resolver")

_BACKOFF_INITIAL_S, _BACKOFF_MAX_S = 0.5, 30.0
_RETRY_AFTER_MAX_S = 600.0
_NAME_BACKOFF_INITIAL_S, _NAME_BACKOFF_MAX_S = 0.1, 0.5
_NAME_WAIT_PER_RETRY_S = 0.4
"""A name server that does not answer for a moment, and no network at all, look alike: 2 s by default for both together."""

_PROGRESS_BYTES = 1 << 16
_WARN_IF_DELAY_OVER_S = 2.0

_Result = TypeVar("_Result")


class RestartDownloadError(Exception):
    """The received bytes are useless: the download has to start over from byte 0.

    Attributes:
        error: what to raise if that fails, too.
        without_ranges: start over with one plain request instead of range requests.
        has_changed: the server has another version of the body by now.
        received_bytes: how much had been received.
    """

    def __init__(
        self,
        text: str,
        *,
        cause: FetchError | None = None,
        without_ranges: bool = False,
        has_changed: bool = False,
        received_bytes: int = 0,
    ) -> None:
        super().__init__(text)
        self.error = cause or FetchError(text, fix="Try again.", is_passing=True)
        self.without_ranges, self.has_changed, self.received_bytes = without_ranges, has_changed, received_bytes


def retry(request: Callable[[], _Result]) -> _Result:
    """Call ``request`` until it succeeds, and return its result.

    Raises:
        FetchError: the error of the last try, if it is not transient or there were too many.
    """
    policy = RetryPolicy()
    while True:
        try:
            return request()
        except FetchError as error:
            policy.sleep_or_raise(error)


class RetryPolicy:
    """Counts consecutive failures; real progress between two of them resets the count."""

    def __init__(self, token: CancellationToken | None = None, *, has_responded: bool = False) -> None:
        """``token`` ends a pause, by default the current one; ``has_responded``: the server has responded before."""
        self._failures = 0
        self._began_s = clock.get_monotonic_s()
        self._has_responded = has_responded
        self._token = token or get_current_token()
        self._operation = get_current_operation()

    def sleep_or_raise(self, error: FetchError, received_bytes: int = 0, *, is_resumable: bool = True) -> None:
        """Wait until it is time to try again, or raise the error.

        Args:
            error: the failure.
            received_bytes: how much was received before it.
            is_resumable: the next try continues behind these bytes, so that they count as progress.

        Raises:
            FetchError: the same error, if it is not transient, or there were too many in a row.
        """
        self._has_responded = self._has_responded or received_bytes > 0
        if is_resumable and received_bytes >= _PROGRESS_BYTES:
            self._failures = 0
        self._failures += 1
        self._token.raise_if_cancelled()  # before the failure is logged: it may be the end of an aborted connection
        if not error.is_passing or self._failures > self._get_max_retries(error):
            try:
                raise error.with_message(f"{error.text}\n  tried {self._failures} times") if self._failures > 1 else error
            finally:
                del error  # its traceback holds this frame: together they would keep the connection open
        delay_s, max_retries = self._compute_delay(error), self._get_max_retries(error)
        level = logging.WARNING if delay_s > _WARN_IF_DELAY_OVER_S else logging.INFO
        log.log(level, "%s; trying again in %.1f s (%d of %d)", error.text, delay_s, self._failures, max_retries)
        emit("fetch.retry", self._operation, text=error.text, delay_s=round(delay_s, 3), number=self._failures)
        self._token.sleep(delay_s)

    def _get_max_retries(self, error: FetchError) -> int:
        most = settings.retries()
        failures = find_failures(error) if isinstance(error, (OfflineError, TransferTimeoutError)) else set()
        is_timeout = isinstance(error, TransferTimeoutError)
        if Failure.CONNECT_TIMEOUT in failures or (is_timeout and self._has_responded):
            return min(1, most)  # each costs its full length; and without a connection the network may be down
        if self._has_responded or not isinstance(error, OfflineError):
            return most
        is_waiting = clock.get_monotonic_s() - self._began_s < _NAME_WAIT_PER_RETRY_S * most
        # Fail fast when offline: a refused connection, or a name that does not exist, before the first response.
        return most if Failure.NAME_UNKNOWN_FOR_NOW in failures and is_waiting else 0

    def _compute_delay(self, error: FetchError) -> float:
        if isinstance(error, OfflineError) and not self._has_responded:
            delay_s: float = _NAME_BACKOFF_INITIAL_S * 2 ** (self._failures - 1)
            return min(_NAME_BACKOFF_MAX_S, delay_s)
        if error.retry_after_s is None:
            delay_s = min(_BACKOFF_MAX_S, _BACKOFF_INITIAL_S * 2 ** (self._failures - 1))
            return delay_s * random.uniform(0.5, 1)
        if error.retry_after_s > _RETRY_AFTER_MAX_S:
            raise FetchError(
                f"{error.text}\n  the server asked to retry after {error.retry_after_s:.0f} s",
                fix="Try again after that time.",
                is_passing=True,
                status=error.status,
                retry_after_s=error.retry_after_s,
            )
        return error.retry_after_s
