"""The one way to stop work from outside: a token that whatever takes long asks, and that a batch cancels."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Iterator

_POLL_INTERVAL_S = 0.2


class CancelledError(BaseException):
    """The work has to stop. Not an Exception, as KeyboardInterrupt is not: nothing may take it for a failure and retry."""


class CancellationToken:
    """Says whether the work it is for has to stop. Any thread may cancel it or ask it; it cannot be undone.

    ``is_cancelled`` is the only place that decides: a further reason to stop, such as a deadline, belongs there.
    """

    def __init__(self, parent: CancellationToken | None = None) -> None:
        """With ``parent``: cancelled also when that is, for a part of its work that may have to stop alone."""
        self._parent = parent
        self._event = threading.Event()

    def cancel(self) -> None:
        """Make the work stop, at its next look at this token."""
        if self is NEVER:
            raise ValueError("the token of work that is never cancelled cannot be cancelled")
        self._event.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether the work has to stop; cheap enough to ask for every chunk."""
        return self._event.is_set() or (self._parent is not None and self._parent.is_cancelled)

    def raise_if_cancelled(self) -> None:
        """Raise CancelledError if the work has to stop."""
        if self.is_cancelled:
            raise CancelledError

    def sleep(self, delay_s: float) -> None:
        """Wait; raises CancelledError soon after the work has to stop.

        It waits in short steps: a signal that arrives just before a wait begins is handled only when that wait ends.
        """
        until_s = time.monotonic() + delay_s
        self.raise_if_cancelled()
        while (left_s := until_s - time.monotonic()) > 0:
            self._event.wait(min(left_s, _POLL_INTERVAL_S))
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
