"""Limits of one call: which error it raises, for which reason, and what is not limited."""

from __future__ import annotations

import asyncio
import threading

import pytest

import tfimm_resolver
from tests.fakes.processes import wait_until
from tfimm_resolver import errors
from tfimm_resolver._util.cancellation import NEVER, CancellationToken, CancelledError, get_current_token
from tfimm_resolver.resolution.limits import call_with_limits


def wait() -> None:
    """Work until the current token is cancelled."""
    get_current_token().sleep(30)


def test_without_limits_the_work_is_not_under_a_token() -> None:
    assert call_with_limits(get_current_token, "m", None, None) is NEVER


def test_the_time_is_limited() -> None:
    with pytest.raises(errors.ResolveTimeoutError, match=r"m could not be fetched within 0\.1 s") as caught:
        call_with_limits(wait, "m", 0.1, None)
    assert isinstance(caught.value, TimeoutError) and caught.value.is_passing and "timeout_s" in caught.value.fix


def test_an_event_ends_the_work() -> None:
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(errors.CancelledError, match="m was cancelled"):
        call_with_limits(wait, "m", 30, stop)


def test_work_that_ends_in_time_returns_its_result() -> None:
    assert call_with_limits(lambda: 1, "m", 30, threading.Event()) == 1
    assert call_with_limits(lambda: 1, "m", 0, None) == 1  # it did not wait for anything


def test_the_limit_of_the_work_around_a_call_is_not_taken_for_that_of_the_call() -> None:
    outer = CancellationToken(timeout_s=0.1)
    with outer.activate(), pytest.raises(CancelledError):
        call_with_limits(wait, "m", 30, threading.Event())


def test_the_innermost_limit_that_is_over_counts() -> None:
    with pytest.raises(errors.ResolveTimeoutError, match="inner"):
        call_with_limits(lambda: call_with_limits(wait, "inner", 0.1, None), "outer", 30, None)


def test_a_call_that_asyncio_abandoned_ends() -> None:
    raised, begun = list[BaseException](), threading.Event()

    def begin() -> None:
        begun.set()
        wait()

    def call() -> None:
        try:
            call_with_limits(begin, "m", None, None)
        except BaseException as error:  # compared below
            raised.append(error)

    async def main() -> None:
        waiting = asyncio.ensure_future(asyncio.to_thread(call))
        assert await asyncio.to_thread(begun.wait, 60)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(waiting, 0.1)

    asyncio.run(main())
    wait_until(lambda: raised)
    assert [type(error) for error in raised] == [errors.CancelledError]


@pytest.mark.parametrize("timeout_s", ["1", True, float("nan"), [1]], ids=repr)
def test_a_time_that_is_not_a_number_is_refused(timeout_s: object) -> None:
    with pytest.raises(errors.HandleError, match="timeout_s is a number of seconds"):
        tfimm_resolver.resolve("m", timeout_s=timeout_s)  # type: ignore[arg-type]


@pytest.mark.parametrize("cancel", [True, "event", CancellationToken()], ids=lambda value: type(value).__name__)
def test_an_event_that_is_none_is_refused(cancel: object) -> None:
    with pytest.raises(errors.HandleError, match="cancel is an event"):
        tfimm_resolver.resolve("m", cancel=cancel)  # type: ignore[arg-type]
