"""Claims: one at a time holds it, a silent one is taken over, and neither faults nor other clocks matter."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.buckets import until
from tests.stores.control import Operation
from tests.stores.gcs import Gcs, Reply, Request
from tfimm_resolver.cache import bucket_lease
from tfimm_resolver.cache.bucket_lease import LEASE_SUFFIX
from tfimm_resolver.errors import AccessError, FetchError
from tfimm_resolver.object_store.client import ObjectStoreClient

NAME, PATH = "0" * 40, f"below/{'0' * 40}{LEASE_SUFFIX}"
DEAD = b"another.machine.7.1"
EXPIRES_S = 0.8


@pytest.fixture
def objects(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> ObjectStoreClient:
    """A place where claims expire soon."""
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", str(EXPIRES_S))
    return ObjectStoreClient("gs://bucket/below")


def never() -> bool:
    return False


def held(objects: ObjectStoreClient, is_needless: Callable[[], bool] = never) -> contextlib.AbstractContextManager[bool]:
    """The claim on the one name."""
    return bucket_lease.hold_lease(objects, NAME, "a model", is_needless)


@contextlib.contextmanager
def waiting(objects: ObjectStoreClient, seen: list[object]) -> Iterator[threading.Thread]:
    """Another one, who waits for the claim meanwhile, and notes when the claim was had, and the claim's text then."""

    def work() -> None:
        with held(objects):
            seen.extend([time.monotonic(), objects.read(NAME + LEASE_SUFFIX)])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def test_a_claim_that_can_neither_be_made_nor_read_is_done_without(gcs: Gcs, objects: ObjectStoreClient) -> None:
    gcs.on("put", f"*{LEASE_SUFFIX}", times=None).answer(412)
    with held(objects) as is_held:
        assert is_held
    assert len(gcs.asked("put")) < 60


def test_a_claim_says_who_has_it_and_is_gone_afterwards(gcs: Gcs, objects: ObjectStoreClient) -> None:
    with held(objects) as is_held:
        host, pid, number = gcs.buckets["bucket"][PATH].decode().rsplit(".", 2)
        assert is_held and (host, int(pid)) == (socket.gethostname(), os.getpid()) and number.isdecimal()
    assert gcs.buckets["bucket"].files() == {}


def test_a_claim_goes_when_an_error_comes_out(gcs: Gcs, objects: ObjectStoreClient) -> None:
    with pytest.raises(KeyboardInterrupt), held(objects):
        raise KeyboardInterrupt
    assert gcs.buckets["bucket"].files() == {}


def test_another_one_has_it_only_afterwards_however_long_it_lasts(gcs: Gcs, objects: ObjectStoreClient) -> None:
    seen: list[object] = []
    with held(objects):
        first = gcs.buckets["bucket"][PATH]
        with waiting(objects, seen):
            time.sleep(2 * EXPIRES_S)
            assert seen == [] and gcs.buckets["bucket"][PATH] != first, "it was not renewed"
            gcs.buckets["bucket"].delete(PATH)  # as its end does
            until(lambda: seen)


def test_who_waits_does_not_write(gcs: Gcs, objects: ObjectStoreClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "600")
    gcs.buckets["bucket"].put(PATH, DEAD)
    with held(objects, lambda: len(gcs.asked("get", PATH)) > 5) as is_held:
        assert not is_held
    assert [one.status for one in gcs.asked("put", PATH)] == [412]


def test_who_finds_it_needless_does_not_have_it_and_leaves_it_to_its_holder(gcs: Gcs, objects: ObjectStoreClient) -> None:
    with held(objects):
        text = gcs.buckets["bucket"][PATH].decode().rpartition(".")[0]
        with held(objects, lambda: len(gcs.asked("get")) > 2) as is_held:
            assert not is_held
        assert gcs.buckets["bucket"][PATH].decode().rpartition(".")[0] == text


def test_a_silent_one_is_taken_over_and_not_sooner(
    gcs: Gcs, objects: ObjectStoreClient, caplog: pytest.LogCaptureFixture
) -> None:
    gcs.buckets["bucket"].put(PATH, DEAD)
    began_s = time.monotonic()
    with caplog.at_level(logging.WARNING), held(objects) as is_held:
        assert is_held and time.monotonic() - began_s >= EXPIRES_S
        assert gcs.buckets["bucket"][PATH].startswith(socket.gethostname().encode())
    assert caplog.messages == ["took over a model from process 7 on another.machine, which has gone silent"]
    assert gcs.buckets["bucket"].files() == {}


def test_of_those_who_see_it_silent_one_takes_it_over_and_the_other_waits(objects: ObjectStoreClient, gcs: Gcs) -> None:
    gcs.buckets["bucket"].put(PATH, DEAD)
    inside, most, came = 0, 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most, came
        with held(objects, lambda: came > 1):
            with guard:
                inside, came = inside + 1, came + 1
                most = max(most, inside)
            time.sleep(1.5 * EXPIRES_S)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (came, most) == (2, 1)


def test_a_claim_whose_answer_is_lost_is_ours_nevertheless(
    gcs: Gcs, objects: ObjectStoreClient, caplog: pytest.LogCaptureFixture
) -> None:
    gcs.on("put", PATH).lose()
    with held(objects) as is_held:
        assert is_held
    assert caplog.messages == [] and gcs.buckets["bucket"].files() == {}


def test_a_claim_that_was_made_and_answered_by_an_error_is_ours_nevertheless(
    gcs: Gcs, objects: ObjectStoreClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses, reply = iter([503]), gcs.reply

    def done_and_refused(request: Request, operation: Operation) -> Reply:
        done = reply(request, operation)
        done.status = next(statuses, done.status)
        return done

    monkeypatch.setattr(gcs, "reply", done_and_refused)
    with held(objects) as is_held:
        assert is_held
    assert caplog.messages == [] and [operation.status for operation in gcs.asked("put", PATH)][:2] == [503, 412]


def test_a_claim_that_was_not_made_is_an_error(gcs: Gcs, objects: ObjectStoreClient) -> None:
    gcs.on("put", PATH).reset()
    with pytest.raises(FetchError, match="could not be written"), held(objects):
        pass


@pytest.mark.parametrize("fault", ["503", "lost"])
def test_a_beat_that_fails_is_made_up_for(
    fault: str, gcs: Gcs, objects: ObjectStoreClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    seen: list[object] = []
    with held(objects):
        rule = gcs.on("put", PATH)
        rule.answer(503) if fault == "503" else rule.lose()
        until(lambda: rule.seen)  # before the other one's claim could be meant
        with waiting(objects, seen):
            time.sleep(2.5 * EXPIRES_S)
            assert seen == [] and rule.seen > 2
            gcs.buckets["bucket"].delete(PATH)
    assert caplog.messages == []


def test_who_takes_over_and_is_not_told_so_has_it(
    gcs: Gcs, objects: ObjectStoreClient, caplog: pytest.LogCaptureFixture
) -> None:
    gcs.buckets["bucket"].put(PATH, DEAD)
    gcs.on("put", PATH, nth=2).lose()  # the first is refused
    with held(objects) as is_held:
        assert is_held
    assert len(caplog.messages) == 1 and gcs.buckets["bucket"].files() == {}


def test_who_was_taken_over_leaves_the_claim_to_its_heir(gcs: Gcs, objects: ObjectStoreClient) -> None:
    with held(objects):
        gcs.buckets["bucket"].put(PATH, DEAD)
        time.sleep(EXPIRES_S)  # a beat, which finds that it is another's
    assert gcs.buckets["bucket"].files() == {PATH: DEAD}


def test_what_cannot_be_removed_expires_and_is_no_error(gcs: Gcs, objects: ObjectStoreClient) -> None:
    gcs.on("delete", times=None).answer(403)
    with held(objects) as is_held:
        assert is_held
    assert PATH in gcs.buckets["bucket"]


def test_the_end_does_not_wait_for_a_store_that_does_not_answer(gcs: Gcs, objects: ObjectStoreClient) -> None:
    with held(objects):
        gcs.on(times=None).hold()
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 10
    gcs.release()
    until(lambda: not any(thread.name == "tfimm_resolver claim" for thread in threading.enumerate()))


def test_a_bucket_that_may_not_be_written_is_told(gcs: Gcs, objects: ObjectStoreClient) -> None:
    gcs.on("put", times=None).answer(403)
    with pytest.raises(AccessError, match=rf"{LEASE_SUFFIX} may not be written without credentials"), held(objects):
        pass


def test_a_store_without_conditions_is_used_without_claims(gcs: Gcs, objects: ObjectStoreClient) -> None:
    gcs.on("put", PATH, times=None).answer(501)
    with held(objects) as first, held(objects) as second:
        assert first and second


def test_who_waits_long_is_told_for_whom(
    gcs: Gcs, objects: ObjectStoreClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bucket_lease, "_TELL_S", 0.1)
    gcs.buckets["bucket"].put(PATH, DEAD)
    with caplog.at_level(logging.WARNING), held(objects):
        pass
    assert caplog.messages[0].startswith("waiting for process 7 on another.machine, which has been fetching a model for 0 s")


@pytest.mark.parametrize("text", [b"", b"\xff\xfe.\x1b.x", b"no number at all", b"a" * 10_000])
def test_a_claim_with_any_text_is_waited_for_and_taken_over(
    text: bytes, gcs: Gcs, objects: ObjectStoreClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "0.2")
    gcs.buckets["bucket"].put(PATH, text)
    with caplog.at_level(logging.WARNING), held(objects) as is_held:
        assert is_held
    assert caplog.messages == ["took over a model from an unknown process, which has gone silent"]


def test_signs_of_life_are_given_while_it_is_waited_for_and_while_it_is_held(gcs: Gcs, objects: ObjectStoreClient) -> None:
    beats: list[None] = []
    gcs.buckets["bucket"].put(PATH, DEAD)
    with bucket_lease.hold_lease(objects, NAME, "a model", never, lambda: beats.append(None)):
        before = len(beats)
        until(lambda: len(beats) >= before + 3)
    assert before >= 3
