"""A deadline, an event and asyncio end each wait of a fetch soon; nothing incomplete is left, and the next call works."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import files_in
from tests.fakes.faults import COMPLETE, NOTHING, PARTS, archive, files, list_kinds
from tests.fakes.faults.origin import Fault, Gate, Host, answer_with, hold_at, never_answer
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tests.fakes.processes import wait_until
from tfimm_resolver import errors
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.locking import lock as locks

MAX_S = 25  # less than any other limit that applies: a read may take 30 s, and servers hold their answers for a minute
TIMEOUT_S = 0.5
HALF = len(archive()) // 2

pytestmark = pytest.mark.timeout(100)


@contextlib.contextmanager
def expect_soon(kind: type[Exception]) -> Iterator[None]:
    """Expect an error of the block, long before any other limit would end it."""
    started_s = time.monotonic()
    with pytest.raises(kind):
        yield
    assert time.monotonic() - started_s < MAX_S


WAITS: dict[str, tuple[Callable[[Gate], Fault], dict[str, bool], set[str]]] = {
    "an answer": (lambda _: never_answer, {}, NOTHING),
    "one stream": (hold_at, {"ranges": False}, NOTHING),
    "ranges": (hold_at, {}, PARTS),
    "a retry": (lambda _: answer_with(503, Retry_After="500"), {}, NOTHING),
}


@pytest.mark.parametrize("wait", WAITS)
def test_a_deadline_ends_the_wait_for(wait: str, host: Host, cache_dir: Path) -> None:
    make_fault, page, left = WAITS[wait]
    gate, timeout_s = Gate(HALF), TIMEOUT_S
    while timeout_s < MAX_S:
        url = host.put("/m.tar.gz", archive(), make_fault(gate), **page)
        with expect_soon(errors.ResolveTimeoutError):
            tfimm_resolver.resolve(url, timeout_s=timeout_s)
        if left != PARTS or gate.reached.is_set():  # else this machine was too busy to get that far
            break
        timeout_s *= 5
    assert list_kinds(cache_dir) == left
    host.put("/m.tar.gz", archive(), **page)
    assert files_in(tfimm_resolver.resolve(url, timeout_s=60)) == files() and list_kinds(cache_dir) == COMPLETE


def test_a_deadline_ends_the_wait_for_a_lock(host: Host, cache_dir: Path) -> None:
    url = host.put("/m.tar.gz", archive())
    cache_dir.mkdir()
    held = locks.acquire(f"{cache_dir}/{entry_name_for_key(url)}.lock")
    assert held is not None
    with expect_soon(errors.ResolveTimeoutError):
        tfimm_resolver.resolve(url, timeout_s=TIMEOUT_S)
    held.release()
    assert os.listdir(cache_dir) == [] and host.requests == []


def test_a_cached_model_is_returned_whatever_the_limits_are(host: Host) -> None:
    path = tfimm_resolver.resolve(url := host.put("/m.tar.gz", archive()))
    stop = threading.Event()
    stop.set()
    assert tfimm_resolver.resolve(url, timeout_s=0, cancel=stop) == path


def test_an_event_ends_a_download(host: Host, cache_dir: Path) -> None:
    gate, stop = Gate(HALF), threading.Event()
    url = host.put("/m.tar.gz", archive(), hold_at(gate))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(tfimm_resolver.resolve, url, cancel=stop)
        wait_until(gate.reached.is_set)
        stop.set()
        with expect_soon(errors.CancelledError):
            future.result(60)
    assert list_kinds(cache_dir) == PARTS


def test_the_loop_ends_soon_after_a_coroutine_gave_up(host: Host, cache_dir: Path) -> None:
    gate = Gate(HALF)
    url = host.put("/m.tar.gz", archive(), hold_at(gate))

    async def main() -> None:
        resolving = asyncio.ensure_future(asyncio.to_thread(tfimm_resolver.resolve, url))
        assert await asyncio.to_thread(gate.reached.wait, 60)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(resolving, 0.01)

    started_s = time.monotonic()
    asyncio.run(main())  # waits for the threads that it started
    assert time.monotonic() - started_s < MAX_S and list_kinds(cache_dir) == PARTS


def test_a_coroutine_that_waits_gets_the_model(host: Host) -> None:
    url = host.put("/m.tar.gz", archive())

    async def main() -> set[str]:
        return {*await asyncio.gather(*(asyncio.to_thread(tfimm_resolver.resolve, url) for _ in range(4)))}

    (path,) = asyncio.run(main())
    assert files_in(path) == files()
