"""Queues between threads, made of the same primitives as the threads, whatever other packages replaced."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

from tfimm_resolver._util import clock

_QUEUE_SIZE = 16


class WaitTimeoutError(Exception):
    """The time for a wait is over."""


class Channel:
    """A FIFO queue between threads.

    Not one of the module ``queue``: gevent replaces SimpleQueue by one for greenlets, also where threads stay those of the
    system. A condition and the threads that use it are both made by ``threading`` when they are needed, and so match.
    """

    def __init__(self, items: Iterable[object] = ()) -> None:
        self._items: deque[Any] = deque(items)
        self._changed = threading.Condition(threading.Lock())

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._items)

    def put(self, item: object) -> None:
        """Add an item."""
        with self._changed:
            self._items.append(item)
            self._changed.notify()

    def get(self, timeout_s: float | None = None) -> Any:
        """Remove and return the oldest item, waiting for one. Raises WaitTimeoutError after ``timeout_s``."""
        until_s = None if timeout_s is None else clock.get_monotonic_s() + timeout_s
        with self._changed:
            while not self._items:
                left_s = None if until_s is None else until_s - clock.get_monotonic_s()
                if left_s is not None and left_s <= 0:
                    raise WaitTimeoutError
                self._changed.wait(left_s)
            return self._items.popleft()

    def clear(self) -> None:
        """Remove all items."""
        with self._changed:
            self._items.clear()


class BoundedQueue:
    """A FIFO queue between two threads that holds a limited number of items."""

    def __init__(self) -> None:
        self._items, self._free_slots = Channel(), Channel([None] * _QUEUE_SIZE)

    def put(self, item: object, timeout_s: float | None = None) -> None:
        """Add an item, waiting for a free slot. Raises WaitTimeoutError after ``timeout_s``."""
        self._free_slots.get(timeout_s)
        self._items.put(item)

    def get(self, timeout_s: float | None = None) -> object:
        """Wait for the next item. Raises WaitTimeoutError after ``timeout_s``."""
        return self._items.get(timeout_s)

    def task_done(self) -> None:
        """Free the slot of an item returned by ``get``, once it has been processed."""
        self._free_slots.put(None)

    def join(self) -> None:
        """Wait until every item has been processed."""
        acquired = 0
        try:
            while acquired < _QUEUE_SIZE:
                self._free_slots.get()
                acquired += 1
        finally:  # after Ctrl-C, too: the item that ends the thread needs a slot
            for _ in range(acquired):
                self._free_slots.put(None)
