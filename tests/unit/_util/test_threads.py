"""Background threads: order, errors, backpressure, and how they end."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Callable

import pytest

from tfimm_resolver._util.cancellation import CancellationToken
from tfimm_resolver._util.threads import BackgroundWriter, PrefetchReader


def make_source(*chunks: bytes | Exception) -> Callable[[], bytes]:
    """Return a function that returns the chunks in turn, raising errors among them, and then always an empty one."""
    remaining = list(chunks)

    def read_chunk() -> bytes:
        chunk = remaining.pop(0) if remaining else b""
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    return read_chunk


def test_reads_every_byte_in_order_in_the_requested_sizes() -> None:
    reader = PrefetchReader(make_source(b"abcdef", b"gh"))
    assert [reader.read(4) for _ in range(5)] == [b"abcd", b"ef", b"gh", b"", b""]
    reader.close()


def test_reads_before_it_is_asked() -> None:
    fetched = threading.Event()

    def read_chunk() -> bytes:
        fetched.set()
        return b""

    reader = PrefetchReader(read_chunk)
    assert fetched.wait(10)
    reader.close()


def test_does_not_read_ahead_without_limit() -> None:
    count = 0

    def read_chunk() -> bytes:
        nonlocal count
        count += 1
        return b"x"

    reader = PrefetchReader(read_chunk)
    reader.read(1)
    reader.close()
    assert count < 40
    assert "tfimm_resolver prefetch" not in {thread.name for thread in threading.enumerate()}


def test_raises_when_the_bytes_are_read_and_not_before() -> None:
    reader = PrefetchReader(make_source(b"good", ValueError("broken")))
    assert reader.read(9) == b"good"
    with pytest.raises(ValueError, match="broken"):
        reader.read(9)
    reader.close()


def test_calls_back_repeatedly_while_a_reader_waits() -> None:
    ticks = threading.Semaphore(0)
    gate = threading.Event()

    def read_chunk() -> bytes:
        gate.wait(30)
        return b""

    reader = PrefetchReader(read_chunk, on_wait=ticks.release)
    reading_thread = threading.Thread(target=reader.read, args=(1,))
    reading_thread.start()
    assert all(ticks.acquire(timeout=10) for _ in range(3))
    gate.set()
    reading_thread.join(10)
    reader.close()


def test_all_tasks_run_in_order() -> None:
    done: list[int] = []
    with contextlib.closing(BackgroundWriter()) as writer:
        for number in range(100):
            writer.submit(done.append, number)
        writer.flush()
        assert done == list(range(100))


@pytest.mark.parametrize("tasks_before_thread", [0, 16])
def test_an_error_of_a_task_is_raised_by_flush_at_the_latest(tasks_before_thread: int) -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    with (
        pytest.raises(OSError, match="full"),
        contextlib.closing(BackgroundWriter(tasks_before_thread)) as writer,
    ):
        writer.submit(fail)
        writer.flush()


def test_the_queue_of_tasks_is_bounded() -> None:
    gate, submitted = threading.Event(), []

    def submit_all() -> None:
        for number in range(60):
            writer.submit(gate.wait, 30)
            submitted.append(number)

    with contextlib.closing(BackgroundWriter(tasks_before_thread=0)) as writer:
        submitter = threading.Thread(target=submit_all)
        submitter.start()
        submitter.join(0.3)
        assert len(submitted) < 40
        gate.set()
        submitter.join(10)
        assert len(submitted) == 60


@pytest.mark.parametrize("tasks_before_thread", [0, 1, 16])
def test_a_file_is_closed_even_if_writing_to_it_fails(tasks_before_thread: int) -> None:
    file = io.BytesIO()
    with contextlib.closing(BackgroundWriter(tasks_before_thread)) as writer:
        writer.submit(file.write, b"x")
        writer.submit(file.write, "no bytes")
        writer.submit_cleanup(file.close)
    assert file.closed


def test_after_an_interrupted_flush_the_writer_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = BackgroundWriter(tasks_before_thread=0)
    writer.submit(int)
    writer.flush()
    free_slots = writer._tasks._free_slots
    slot_count = len(free_slots)

    class Interrupted:
        put = staticmethod(free_slots.put)

        def get(self) -> None:
            free_slots.get()
            if not len(free_slots):
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writer._tasks, "_free_slots", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            writer.flush()
    assert len(free_slots) == slot_count - 1
    writer.close()


def test_closing_interrupts_a_blocked_read() -> None:
    stopped = threading.Event()

    def read_chunk() -> bytes:
        stopped.wait(30)
        return b""

    started_s = time.monotonic()
    PrefetchReader(read_chunk, interrupt=stopped.set).close()
    assert stopped.is_set() and time.monotonic() - started_s < 20


def test_a_short_stream_is_read_without_a_thread() -> None:
    threads: list[threading.Thread] = []

    def read_chunk() -> bytes:
        threads.append(threading.current_thread())
        return b"x" if len(threads) == 1 else b""

    with contextlib.closing(PrefetchReader(read_chunk, size_bytes=1)) as reader:
        assert not threads
        assert (reader.read(9), reader.read(9), reader.read(9)) == (b"x", b"", b"")
    assert threads == [threading.current_thread()] * 2


@pytest.mark.parametrize("size_bytes", [None, 10**6])
def test_a_long_stream_or_one_of_unknown_length_is_read_by_a_thread(size_bytes: int | None) -> None:
    started = threading.Event()

    def read_chunk() -> bytes:
        started.set()
        return b""

    with contextlib.closing(PrefetchReader(read_chunk, size_bytes=size_bytes)):
        assert started.wait(30)


def test_a_short_stream_of_work_that_can_be_cancelled_is_read_by_a_thread() -> None:
    started = threading.Event()

    def read_chunk() -> bytes:
        started.set()
        return b""

    with CancellationToken().activate(), contextlib.closing(PrefetchReader(read_chunk, size_bytes=1)):
        assert started.wait(30)


def test_a_few_tasks_are_done_without_a_thread_and_more_by_one() -> None:
    threads: list[threading.Thread] = []
    with contextlib.closing(BackgroundWriter(tasks_before_thread=2)) as writer:
        for _ in range(4):
            writer.submit(lambda: threads.append(threading.current_thread()))
            writer.submit_cleanup(lambda: None)
        writer.flush()
    assert [thread is threading.current_thread() for thread in threads] == [True, True, False, False]


def test_ctrl_c_in_a_task_stops_its_caller_at_once() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with contextlib.closing(BackgroundWriter()) as writer, pytest.raises(KeyboardInterrupt):
        writer.submit(interrupt)
        pytest.fail("the caller continued")
