"""Limits that a caller sets to one call: a time, an event that ends it, and the end of asyncio's wait for its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from tfimm_resolver import errors
from tfimm_resolver._util.asyncio_futures import find_abandoned_check
from tfimm_resolver._util.cancellation import CancellationToken, CancelledError, get_current_token
from tfimm_resolver.errors import HandleError, ResolveTimeoutError

_RESUME_FIX = "Try again: a download that can be resumed continues where it stopped."

_Result = TypeVar("_Result")


class CancelEvent(Protocol):
    """What ends a call once it is set, such as ``threading.Event``; it is asked often, from several threads."""

    def is_set(self) -> bool:
        """Whether the call has to end."""


def call_with_limits(
    call: Callable[[], _Result],
    what: object,
    timeout_s: float | None,
    cancel: CancelEvent | None,
    *,
    spent_s: float = 0,
    done: str = "fetched",
) -> _Result:
    """Return what ``call`` returns. Without a limit it is only called.

    ``spent_s`` of the time were needed before it; ``done`` is for messages.

    Raises:
        ResolveTimeoutError: if it needs more than ``timeout_s``.
        CancelledError: if ``cancel`` is set before its end, or asyncio no longer waits for it.
        HandleError: if an argument has a wrong type.
    """
    is_abandoned = find_abandoned_check()
    if timeout_s is None and cancel is None and is_abandoned is None:
        return call()
    _check_arguments(timeout_s, cancel)
    reasons = [*([cancel.is_set] if cancel is not None else []), *([is_abandoned] if is_abandoned is not None else [])]
    outer = get_current_token()
    token = CancellationToken(
        outer,
        timeout_s=float("inf") if timeout_s is None else timeout_s - spent_s,
        is_stopped=lambda: any(is_set() for is_set in reasons),
    )
    try:
        with token.activate():
            return call()
    except CancelledError:
        outer.raise_if_cancelled()  # not a limit of this call, but one of the work that it belongs to
        if timeout_s is not None and token.has_expired and not any(is_set() for is_set in reasons):
            raise ResolveTimeoutError(
                f"{what} could not be {done} within {timeout_s:g} s", fix=f"Raise timeout_s. {_RESUME_FIX}", is_passing=True
            ) from None
        raise errors.CancelledError(f"{what} was cancelled by its caller before it was {done}", fix=_RESUME_FIX) from None


def _check_arguments(timeout_s: object, cancel: object) -> None:
    is_number = isinstance(timeout_s, (int, float)) and not isinstance(timeout_s, bool) and timeout_s == timeout_s
    if timeout_s is not None and not is_number:
        raise HandleError(f"timeout_s is a number of seconds, not {timeout_s!r:.80}")
    if cancel is not None and not callable(getattr(cancel, "is_set", None)):
        raise HandleError(
            f"cancel is an event such as threading.Event(), with a method is_set, not {type(cancel).__name__}: {cancel!r:.80}"
        )
