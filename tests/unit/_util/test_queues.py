"""Queues between threads: order, limits, and waits that end."""

from __future__ import annotations

import queue
import threading

import pytest

from tfimm_resolver._util.queues import BoundedQueue, Channel, WaitTimeoutError
from tfimm_resolver._util.threads import BackgroundWriter


def test_items_arrive_in_order_and_can_be_dropped() -> None:
    channel = Channel()
    for number in range(3):
        channel.put(number)
    assert [channel.get() for _ in range(2)] == [0, 1] and len(channel) == 1
    channel.clear()
    with pytest.raises(WaitTimeoutError):
        channel.get(0)


def test_a_wait_ends_with_an_item_or_after_its_time() -> None:
    channel, received = Channel(), list[object]()
    thread = threading.Thread(target=lambda: received.append(channel.get(30)))
    thread.start()
    channel.put("item")
    thread.join(10)
    assert received == ["item"]
    with pytest.raises(WaitTimeoutError):
        channel.get(0.05)


def test_a_bounded_queue_holds_a_limited_number_until_items_are_processed() -> None:
    items, count = BoundedQueue(), 0
    with pytest.raises(WaitTimeoutError):
        while True:
            items.put(count, 0.05)
            count += 1
    assert 0 < count < 100 and items.get() == 0
    with pytest.raises(WaitTimeoutError):
        items.put(count, 0.05)
    items.task_done()
    items.put(count, 0.05)


def test_it_uses_no_queue_of_the_standard_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """gevent replaces this one by a queue for greenlets, also where threads are not replaced."""

    def fail(*_: object) -> None:
        raise AssertionError("a queue of the module queue was made")

    monkeypatch.setattr(queue, "SimpleQueue", fail)
    monkeypatch.setattr(queue, "Queue", fail)
    items, done = BoundedQueue(), list[str]()
    items.put("item", 0.05)
    assert items.get(0.05) == "item"
    items.task_done()
    items.join()
    writer = BackgroundWriter(tasks_before_thread=0)
    writer.submit(done.append, "written")
    writer.flush()
    writer.close()
    assert done == ["written"]
