"""A call that asyncio runs in a thread notices that what waits for it was cancelled; any other call notices nothing."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Awaitable, Callable

import pytest

from tests.fakes.processes import wait_until
from tfimm_resolver._util.asyncio_futures import find_abandoned_check

Check = Callable[[], bool]
Start = Callable[[Callable[[], None]], Awaitable[None]]


def run_in_executor(call: Callable[[], None]) -> Awaitable[None]:
    """Run a call in the executor of the loop, as asyncio.to_thread did before it existed."""
    return asyncio.get_running_loop().run_in_executor(None, call)


class Call:
    """A call that waits in a thread until the test lets it go on, with the check that it found."""

    def __init__(self) -> None:
        self.check: Check | None = None
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.check = find_abandoned_check()
        self.has_begun.set()
        self.may_end.wait(30)

    def is_abandoned(self) -> bool:
        """Whether the call was abandoned, as it sees it."""
        assert self.check is not None
        return self.check()


@pytest.mark.parametrize("start", [asyncio.to_thread, run_in_executor], ids=["to_thread", "run_in_executor"])
def test_a_cancelled_wait_is_noticed_in_the_thread(start: Start) -> None:
    async def main(call: Call) -> tuple[bool, bool]:
        waiting = asyncio.ensure_future(start(call))
        await asyncio.to_thread(call.has_begun.wait, 30)
        before = call.is_abandoned()
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        after = call.is_abandoned()
        call.may_end.set()
        return before, after

    assert asyncio.run(main(Call())) == (False, True)


def test_a_timeout_is_noticed_but_not_that_of_a_shield() -> None:
    async def main(call: Call, shielded: Call) -> tuple[bool, bool]:
        limited, task = (asyncio.ensure_future(asyncio.to_thread(each)) for each in (call, shielded))
        for each in (call, shielded):  # what has not begun would be cancelled without a thread
            assert await asyncio.to_thread(each.has_begun.wait, 30)
        for waiting in (limited, asyncio.shield(task)):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(waiting, 0.05)
        found = call.is_abandoned(), shielded.is_abandoned()
        call.may_end.set()
        shielded.may_end.set()
        await task
        return found

    assert asyncio.run(main(Call(), Call())) == (True, False)


def test_outside_of_an_executor_nothing_is_found() -> None:
    found = list[object]()
    thread = threading.Thread(target=lambda: found.append(find_abandoned_check()))
    thread.start()
    thread.join()
    assert found == [None] and find_abandoned_check() is None


def test_a_future_that_is_not_asyncios_is_never_abandoned() -> None:
    call = Call()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(call)
        wait_until(call.has_begun.is_set)
        assert not future.cancel() and not call.is_abandoned()
        call.may_end.set()
