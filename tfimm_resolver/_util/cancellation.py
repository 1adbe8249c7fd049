"""The one way to stop work from outside: a token that whatever takes long asks, and that a batch cancels."""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Callable, Iterator

from tfimm_resolver._util import clock

_POLL_INTERVAL_S = 0.1


class CancelledError(BaseException):
    """The work has to stop. Not an Exception, as KeyboardInterrupt is not: nothing may take it for a failure and retry."""


class CancellationToken:
    """Says whether the work it is for has to stop. Any thread may cancel it or ask it; it cannot be undone.

    ``is_cancelled`` and ``is_stopped`` are the only places that decide: a further reason to stop belongs there. The token has
    no event of ``threading``: gevent replaces those, and a wait for one that was made before would stop all greenlets.
    """

    def __init__(
        self,
        parent: CancellationToken | None = None,
        *,
        timeout_s: float = float("inf"),
        is_stopped: Callable[[], bool] | None = None,
    ) -> None:
        """Begin the work.

        Args:
            parent: this token is cancelled also when that is: for a part of its work that may have to stop alone.
            timeout_s: the seconds that the work may take.
            is_stopped: says whether the work has to stop for a reason of its caller; called often, from any thread.
        """
        self._parent, self._is_stopped = parent, is_stopped
        self._is_set = False
        self._until_s = clock.get_monotonic_s() + timeout_s if timeout_s < float("inf") else None

    def cancel(self) -> None:
        """Make the work stop, at its next look at this token."""
        if self is NEVER:
            raise ValueError("the token of work that is never cancelled cannot be cancelled")
        self._is_set = True

    @property
    def is_cancelled(self) -> bool:
        """Whether the work has to stop; cheap enough to ask for every chunk."""
        if self._is_set or (self._is_stopped is not None and self._is_stopped()) or self.has_expired:
            return True
        return self._parent is not None and self._parent.is_cancelled

    @property
    def is_stopped(self) -> bool:
        """Whether the work has to stop for another reason than its time."""
        if self._is_set or (self._is_stopped is not None and self._is_stopped()):
            return True
        return self._parent is not None and self._parent.is_stopped

    @property
    def has_expired(self) -> bool:
        """Whether the time for the work is over."""
        return self._until_s is not None and clock.get_monotonic_s() >= self._until_s

    def raise_if_cancelled(self) -> None:
        """Raise CancelledError if the work has to stop."""
        if self.is_cancelled:
            raise CancelledError

    def sleep(self, delay_s: float) -> None:
        """Wait; raises CancelledError soon after the work has to stop.

        It waits in short steps: a signal that arrives just before a wait begins is handled only when that wait ends.
        """
        until_s = clock.get_monotonic_s() + delay_s
        self.raise_if_cancelled()
        while (left_s := until_s - clock.get_monotonic_s()) > 0:
            time.sleep(min(left_s, _POLL_INTERVAL_S))
            self.raise_if_cancelled()

    @contextlib.contextmanager
    def activate(self) -> Iterator[None]:
        """Make this the token that ``get_current_token`` returns in the block, to this thread only."""
        before = _current.set(self)
        try:
            yield
        finally:
            _current.reset(before)


NEVER = CancellationToken()
"""The token of work that only a signal or an error ends."""

_current: contextvars.ContextVar[CancellationToken] = contextvars.ContextVar("tfimm_resolver_token", default=NEVER)


def get_current_token() -> CancellationToken:
    """Return the token of the work that this thread does; ``NEVER`` if it was given none.

    A new thread has none. What starts one keeps the token and asks it there, unless the thread cleans up.
    """
    return _current.get()


@contextlib.contextmanager
def ignore_time_limits() -> Iterator[None]:
    """Let this thread's work take as long as it needs in the block; every other reason to stop still counts."""
    outer = get_current_token()
    with CancellationToken(is_stopped=lambda: outer.is_stopped).activate():
        yield
