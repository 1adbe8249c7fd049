"""Threads that read ahead and work behind: order, errors, and an end."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Callable

import pytest

from tests.processes import start
from tfimm_resolver._util.threads import BackgroundWriter, DaemonThreadPool, PrefetchReader


def source(*pieces: bytes | Exception) -> Callable[[], bytes]:
    """Gives the pieces in turn, then nothing for ever; raises what is an error."""
    left = list(pieces)

    def fetch() -> bytes:
        piece = left.pop(0) if left else b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    return fetch


def test_gives_every_byte_in_order_in_the_sizes_asked_for() -> None:
    ahead = PrefetchReader(source(b"abcdef", b"gh"))
    assert [ahead.read(4) for _ in range(5)] == [b"abcd", b"ef", b"gh", b"", b""]
    ahead.close()


def test_fetches_before_it_is_asked() -> None:
    fetched = threading.Event()

    def fetch() -> bytes:
        fetched.set()
        return b""

    ahead = PrefetchReader(fetch)
    assert fetched.wait(10)
    ahead.close()


def test_does_not_fetch_for_ever() -> None:
    count = 0

    def fetch() -> bytes:
        nonlocal count
        count += 1
        return b"x"

    ahead = PrefetchReader(fetch)
    ahead.read(1)
    ahead.close()
    assert count < 40
    assert "tfimm_resolver ahead" not in {thread.name for thread in threading.enumerate()}


def test_raises_where_the_bytes_are_wanted_and_not_before() -> None:
    ahead = PrefetchReader(source(b"good", ValueError("broken")))
    assert ahead.read(9) == b"good"
    with pytest.raises(ValueError, match="broken"):
        ahead.read(9)
    ahead.close()


def test_somebody_who_waits_is_told_of_it_now_and_then() -> None:
    ticks = threading.Semaphore(0)
    gate = threading.Event()

    def fetch() -> bytes:
        gate.wait(30)
        return b""

    ahead = PrefetchReader(fetch, tick=ticks.release)
    reader = threading.Thread(target=ahead.read, args=(1,))
    reader.start()
    assert all(ticks.acquire(timeout=10) for _ in range(3))
    gate.set()
    reader.join(10)
    ahead.close()


def test_deeds_are_done_in_order_and_all_of_them() -> None:
    done: list[int] = []
    with contextlib.closing(BackgroundWriter()) as behind:
        for number in range(100):
            behind.do(done.append, number)
        behind.finish()
        assert done == list(range(100))


def test_an_error_of_a_deed_is_raised_at_the_latest_at_the_end() -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), contextlib.closing(BackgroundWriter()) as behind:
        behind.do(fail)
        behind.finish()


def test_few_deeds_wait_at_a_time() -> None:
    gate, given = threading.Event(), []

    def give() -> None:
        for number in range(60):
            behind.do(gate.wait, 30)
            given.append(number)

    with contextlib.closing(BackgroundWriter()) as behind:
        giver = threading.Thread(target=give)
        giver.start()
        giver.join(0.3)
        assert len(given) < 40
        gate.set()
        giver.join(10)
        assert len(given) == 60


def test_a_file_is_closed_after_what_is_written_to_it_even_if_that_fails() -> None:
    file = io.BytesIO()
    with contextlib.closing(BackgroundWriter()) as behind:
        behind.do(file.write, b"x")
        behind.do(file.write, "no bytes")
        behind.do_anyway(file.close)
    assert file.closed


def test_who_is_interrupted_at_the_end_of_a_wait_for_deeds_can_end_their_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    behind = BackgroundWriter()
    room = behind._deeds._room
    rooms = room.qsize()

    class Interrupted:
        put = staticmethod(room.put)

        def get(self) -> None:
            room.get()
            if room.empty():
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(behind._deeds, "_room", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            behind.finish()
    assert room.qsize() == rooms - 1
    behind.close()


def test_closing_ends_a_fetch_that_waits() -> None:
    stopped = threading.Event()

    def fetch() -> bytes:
        stopped.wait(30)
        return b""

    started_s = time.monotonic()
    PrefetchReader(fetch, stop=stopped.set).close()
    assert stopped.is_set() and time.monotonic() - started_s < 20


def test_a_signal_that_does_not_wake_who_waits_for_a_crew_is_seen_nevertheless() -> None:
    """As one that comes in the moment before the wait begins; here another thread takes it."""
    with start(
        """
        import os, signal, threading
        from tfimm_resolver._util.threads import DaemonThreadPool

        def end(*_):
            raise SystemExit(7)

        def deed():
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(60)

        signal.signal(signal.SIGTERM, end)
        with DaemonThreadPool(1) as crew:
            crew.submit(int).result()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            crew.submit(deed).result()
        """
    ) as waiting:
        try:
            assert waiting.wait(30) == 7
        finally:
            waiting.kill()


def test_what_a_crew_does_comes_back_as_it_is() -> None:
    def fail() -> None:
        raise TimeoutError("of the deed")

    with DaemonThreadPool(2) as crew:
        assert [one.result() for one in [crew.submit(abs, number) for number in (-1, -2, -3)]] == [1, 2, 3]
        with pytest.raises(TimeoutError, match="of the deed"):
            crew.submit(fail).result()
