"""Leases: one holder at a time, takeover of expired leases, and independence of faults and other machines' clocks."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.fakes.buckets import wait_until
from tests.fakes.stores.control import Operation
from tests.fakes.stores.gcs import Gcs, Request, Response
from tfimm_resolver._util import clock
from tfimm_resolver._util.threads import start_thread
from tfimm_resolver.cache import bucket_lease
from tfimm_resolver.cache.bucket_lease import LEASE_SUFFIX
from tfimm_resolver.errors import AccessError, FetchError
from tfimm_resolver.object_store.client import ObjectStoreClient

NAME, PATH = "0" * 40, f"below/{'0' * 40}{LEASE_SUFFIX}"
DEAD = b"another.machine.7.1"
TTL_S, LONG_TTL_S = 0.8, 200.0


@pytest.fixture
def objects(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> ObjectStoreClient:
    """A bucket, with a short time to live for leases."""
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", str(TTL_S))
    monkeypatch.setattr(bucket_lease, "_FIRST_WARNING_S", 600.0)  # a busy machine may take longer than it usually is
    return ObjectStoreClient("gs://bucket/below")


@pytest.fixture
def advance(objects: ObjectStoreClient, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Leases that live for minutes, but are renewed as often as short ones; the function moves the clock forward."""
    read_s, offset_s = clock._read_monotonic, 0.0
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", str(LONG_TTL_S))
    monkeypatch.setattr(bucket_lease, "_RENEWALS_PER_TTL", LONG_TTL_S / 0.2)
    monkeypatch.setattr(bucket_lease, "_MAX_POLL_S", 0.1)
    monkeypatch.setattr(clock, "_read_monotonic", lambda: read_s() + offset_s)

    def add(seconds: float) -> None:
        nonlocal offset_s
        offset_s += seconds

    return add


def count(gcs: Gcs, kind: str, status: int) -> int:
    """Return how many operations on the lease had that outcome."""
    return sum(one.status == status for one in gcs.find_operations(kind, PATH))


def outlive_lease(gcs: Gcs, advance: Callable[[float], None]) -> None:
    """Let nearly twice the time to live pass for a waiter, who sees that the lease is renewed before it is over."""
    for _ in range(3):
        renewals = count(gcs, "put", 200)
        wait_until(lambda renewals=renewals: count(gcs, "put", 200) > renewals)  # type: ignore[misc]
        reads = len(gcs.find_operations("get", PATH))
        wait_until(lambda reads=reads: len(gcs.find_operations("get", PATH)) > reads + 1)  # type: ignore[misc]  # one is done
        advance(0.6 * LONG_TTL_S)


def never() -> bool:
    return False


def hold(objects: ObjectStoreClient, is_already_done: Callable[[], bool] = never) -> contextlib.AbstractContextManager[bool]:
    """Hold the lease on ``NAME``."""
    return bucket_lease.hold_lease(objects, NAME, "a model", is_already_done)


@contextlib.contextmanager
def start_waiter(objects: ObjectStoreClient, seen: list[object]) -> Iterator[threading.Thread]:
    """Start a thread that waits for the lease and adds to ``seen`` when it got it, and the lease's text then."""

    def work() -> None:
        with hold(objects):
            seen.extend([time.monotonic(), objects.read(NAME + LEASE_SUFFIX)])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def test_work_goes_on_without_a_lease_that_can_neither_be_created_nor_read(gcs: Gcs, objects: ObjectStoreClient) -> None:
    gcs.on("put", f"*{LEASE_SUFFIX}", times=None).answer(412)
    with hold(objects) as has_lease:
        assert has_lease
    assert len(gcs.find_operations("put")) < 60


def test_a_lease_names_its_owner_and_is_removed_afterwards(gcs: Gcs, objects: ObjectStoreClient) -> None:
    with hold(objects) as has_lease:
        host, pid, number = gcs.buckets["bucket"][PATH].decode().rsplit(".", 2)
        assert has_lease and (host, int(pid)) == (socket.gethostname(), os.getpid()) and number.isdecimal()
    assert gcs.buckets["bucket"].files() == {}


def test_a_lease_is_removed_after_an_error(gcs: Gcs, objects: ObjectStoreClient) -> None:
    with pytest.raises(KeyboardInterrupt), hold(objects):
        raise KeyboardInterrupt
    assert gcs.buckets["bucket"].files() == {}


def test_a_waiter_gets_it_only_afterwards_however_long_it_takes(
    gcs: Gcs, objects: ObjectStoreClient, advance: Callable[[float], None]
) -> None:
    seen: list[object] = []
    with hold(objects):
        first = gcs.buckets["bucket"][PATH]
        with start_waiter(objects, seen):
            outlive_lease(gcs, advance)
            assert seen == [] and gcs.buckets["bucket"][PATH] != first, "it was not renewed"
            gcs.buckets["bucket"].delete(PATH)  # as at its end
            wait_until(lambda: seen)


def test_a_waiter_does_not_write(gcs: Gcs, objects: ObjectStoreClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "600")
    gcs.buckets["bucket"].put(PATH, DEAD)
    with hold(objects, lambda: len(gcs.find_operations("get", PATH)) > 5) as has_lease:
        assert not has_lease
    assert [one.status for one in gcs.find_operations("put", PATH)] == [412]


@pytest.mark.usefixtures("advance")
def test_a_waiter_whose_work_is_done_leaves_the_lease_to_its_owner(gcs: Gcs, objects: ObjectStoreClient) -> None:
    with hold(objects):
        text = gcs.buckets["bucket"][PATH].decode().rpartition(".")[0]
        with hold(objects, lambda: len(gcs.find_operations("get")) > 2) as has_lease:
            assert not has_lease
        assert gcs.buckets["bucket"][PATH].decode().rpartition(".")[0] == text


def test_an_expired_lease_is_taken_over_and_not_before(
    gcs: Gcs, objects: ObjectStoreClient, caplog: pytest.LogCaptureFixture
) -> None:
    gcs.buckets["bucket"].put(PATH, DEAD)
    began_s = time.monotonic()
    with caplog.at_level(logging.WARNING), hold(objects) as has_lease:
        assert has_lease and time.monotonic() - began_s >= TTL_S
        assert gcs.buckets["bucket"][PATH].startswith(socket.gethostname().encode())
    assert caplog.messages == ["took over the lease on a model from process 7 on another.machine, which stopped renewing it"]
    assert gcs.buckets["bucket"].files() == {}


def test_one_of_several_waiters_takes_over_an_expired_lease(
    objects: ObjectStoreClient, gcs: Gcs, advance: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_text() -> bytes:  # as in two processes: each thread, and that which renews its lease, has a name of its own
        return f"here.{threading.current_thread().name}.{time.time_ns()}".encode()

    monkeypatch.setattr(bucket_lease, "_make_text", make_text)
    monkeypatch.setattr(
        bucket_lease, "start_thread", lambda target, _, *rest: start_thread(target, threading.current_thread().name, *rest)
    )
    gcs.buckets["bucket"].put(PATH, DEAD)
    inside, max_inside, entered = 0, 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, max_inside, entered
        with hold(objects, lambda: entered > 1):
            with guard:
                inside, entered = inside + 1, entered + 1
                max_inside = max(max_inside, inside)
            if entered == 1:
                outlive_lease(gcs, advance)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=work, name=str(number)) for number in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: count(gcs, "put", 412) == 2 and len(gcs.find_operations("get", PATH)) > 5)  # both have seen the dead
    advance(1.1 * LONG_TTL_S)
    for thread in threads:
        thread.join()
    assert (entered, max_inside) == (2, 1)


def test_a_lease_is_held_if_the_response_to_its_creation_is_lost(
    gcs: Gcs, objects: ObjectStoreClient, caplog: pytest.LogCaptureFixture
) -> None:
    gcs.on("put", PATH).lose()
    with hold(objects) as has_lease:
        assert has_lease
    assert caplog.messages == [] and gcs.buckets["bucket"].files() == {}


def test_a_lease_is_held_if_its_creation_is_answered_by_an_error(
    gcs: Gcs, objects: ObjectStoreClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses, response = iter([503]), gcs.respond

    def apply_then_fail(request: Request, operation: Operation) -> Response:
        done = response(request, operation)
        done.status = next(statuses, done.status)
        return done

    monkeypatch.setattr(gcs, "respond", apply_then_fail)
    with hold(objects) as has_lease:
        assert has_lease
    assert caplog.messages == [] and [operation.status for operation in gcs.find_operations("put", PATH)][:2] == [503, 412]


def test_a_lease_that_was_not_created_is_an_error(gcs: Gcs, objects: ObjectStoreClient) -> None:
    gcs.on("put", PATH).reset()
    with pytest.raises(FetchError, match="could not be written"), hold(objects):
        pass


@pytest.mark.parametrize("fault", ["503", "lost"])
def test_one_failed_renewal_does_not_lose_the_lease(
    fault: str, gcs: Gcs, objects: ObjectStoreClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    # As often as with the short time to live, which a busy machine may exceed between two renewals.
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "20")
    monkeypatch.setattr(bucket_lease, "_RENEWALS_PER_TTL", 100)
    seen: list[object] = []
    with hold(objects):
        rule = gcs.on("put", PATH)
        rule.answer(503) if fault == "503" else rule.lose()
        wait_until(lambda: rule.seen)  # before requests of the other thread can match the rule
        with start_waiter(objects, seen):
            wait_until(lambda: rule.seen > 5)  # the waiter writes once
            assert seen == []
            gcs.buckets["bucket"].delete(PATH)
    assert not any("took over" in message for message in caplog.messages)  # only that it waited, on a busy machine


def test_a_takeover_whose_response_is_lost_holds_the_lease(
    gcs: Gcs, objects: ObjectStoreClient, caplog: pytest.LogCaptureFixture
) -> None:
    gcs.buckets["bucket"].put(PATH, DEAD)
    gcs.on("put", PATH, nth=2).lose()  # the first is refused
    with hold(objects) as has_lease:
        assert has_lease
    assert len(caplog.messages) == 1 and gcs.buckets["bucket"].files() == {}


def test_an_owner_that_lost_its_lease_leaves_it_to_the_successor(gcs: Gcs, objects: ObjectStoreClient) -> None:
    with hold(objects):
        gcs.buckets["bucket"].put(PATH, DEAD)
        wait_until(lambda: count(gcs, "put", 412))  # a renewal, which finds that another process owns it
    assert gcs.buckets["bucket"].files() == {PATH: DEAD}


def test_a_lease_that_cannot_be_removed_is_not_an_error(gcs: Gcs, objects: ObjectStoreClient) -> None:
    gcs.on("delete", times=None).answer(403)
    with hold(objects) as has_lease:
        assert has_lease
    assert PATH in gcs.buckets["bucket"]


def test_the_end_does_not_wait_for_an_unresponsive_store(
    gcs: Gcs, objects: ObjectStoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_lease, "_JOIN_TIMEOUT_S", 2.0)
    with hold(objects):
        gcs.on(times=None).hold()
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 25  # a request may take 30 s
    gcs.release()
    wait_until(lambda: not any(thread.name == "tfimm_resolver lease" for thread in threading.enumerate()))


def test_a_bucket_that_may_not_be_written_is_an_error(gcs: Gcs, objects: ObjectStoreClient) -> None:
    gcs.on("put", times=None).answer(403)
    with pytest.raises(AccessError, match=rf"{LEASE_SUFFIX} cannot be written without credentials"), hold(objects):
        pass


def test_a_store_without_conditional_writes_is_used_without_leases(gcs: Gcs, objects: ObjectStoreClient) -> None:
    gcs.on("put", PATH, times=None).answer(501)
    with hold(objects) as first, hold(objects) as second:
        assert first and second


def test_a_long_wait_is_logged_with_the_owner(
    gcs: Gcs, objects: ObjectStoreClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bucket_lease, "_FIRST_WARNING_S", 0.0)
    gcs.buckets["bucket"].put(PATH, DEAD)
    with caplog.at_level(logging.WARNING), hold(objects):
        pass
    start = r"waiting for process 7 on another\.machine, which has been fetching a model for at least \d+ s"
    assert re.match(start, caplog.messages[0])


@pytest.mark.parametrize("text", [b"", b"\xff\xfe.\x1b.x", b"no number at all", b"a" * 10_000])
def test_a_lease_with_any_text_is_waited_for_and_taken_over(
    text: bytes, gcs: Gcs, objects: ObjectStoreClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "0.2")
    gcs.buckets["bucket"].put(PATH, text)
    with caplog.at_level(logging.WARNING), hold(objects) as has_lease:
        assert has_lease
    assert caplog.messages == ["took over the lease on a model from an unknown process, which stopped renewing it"]


def test_heartbeats_are_sent_while_waiting_and_while_holding(
    gcs: Gcs, objects: ObjectStoreClient, advance: Callable[[float], None]
) -> None:
    heartbeats: list[None] = []
    gcs.buckets["bucket"].put(PATH, DEAD)

    def beat() -> None:
        heartbeats.append(None)
        if len(heartbeats) == 3:
            advance(1.1 * LONG_TTL_S)  # the lease of the dead expires

    with bucket_lease.hold_lease(objects, NAME, "a model", never, beat):
        before = len(heartbeats)
        wait_until(lambda: len(heartbeats) >= before + 3)
    assert before >= 3
