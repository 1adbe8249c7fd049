"""Overlaps work: a stream that is read ahead, and deeds that are done behind, each by a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_WAITING = 16
_TICK_S = 0.2
_FAREWELL_S = 2.0


class Ahead:
    """A stream whose pieces a thread fetches a little before they are asked for.

    The thread is a daemon: whoever closes this does not wait for bytes that may never come.
    """

    def __init__(
        self, fetch: Callable[[], bytes], tick: Callable[[], None] = lambda: None, stop: Callable[[], None] = lambda: None
    ) -> None:
        """Begin to read.

        Args:
            fetch: gives the next piece, or nothing at the end.
            tick: is called now and then while somebody waits.
            stop: makes a ``fetch`` that waits return.
        """
        self._fetch, self._tick, self._stop = fetch, tick, stop
        self._pieces: queue.Queue[bytes | BaseException] = queue.Queue(_WAITING)
        self._left = b""
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="tfimm_resolver ahead", daemon=True)
        self._thread.start()

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end. Raises what ``fetch`` raised."""
        piece = self._left or self._next()
        self._left = piece[size:]
        return piece[:size]

    def close(self) -> None:
        """End the thread; it is not waited for longer than a moment, if its fetch does not return."""
        self._is_closed = True
        self._stop()
        self._thread.join(_FAREWELL_S)

    def _next(self) -> bytes:
        self._tick()
        while True:
            try:
                piece = self._pieces.get(timeout=_TICK_S)
            except queue.Empty:
                self._tick()
                continue
            if isinstance(piece, BaseException):
                raise piece
            if not piece:
                self._pieces.put(piece)  # the end stays the end
            return piece

    def _run(self) -> None:
        piece: bytes | BaseException = b"begin"
        while piece and not isinstance(piece, BaseException) and not self._is_closed:
            try:
                piece = self._fetch()
            except BaseException as error:  # it is raised where the bytes are wanted
                piece = error
            self._put(piece)

    def _put(self, piece: bytes | BaseException) -> None:
        while not self._is_closed:
            try:
                return self._pieces.put(piece, timeout=_TICK_S)
            except queue.Full:
                pass


class Behind:
    """Deeds that a thread does in the order in which they were given; few enough wait that they need little memory."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "tfimm_resolver behind")
        self._waiting: deque[Future[Any]] = deque()

    def close(self) -> None:
        """End the thread, once all is done that was given."""
        self._thread.shutdown()

    def do(self, deed: Callable[..., object], *arguments: object) -> None:
        """Have a deed done. Raises what an earlier one raised."""
        while len(self._waiting) >= _WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(deed, *arguments))

    def do_anyway(self, deed: Callable[[], object]) -> None:
        """Have a deed done, whatever became of earlier ones; nobody asks what becomes of this one."""
        self._thread.submit(deed)

    def finish(self) -> None:
        """Wait until all is done. Raises what one of them raised."""
        while self._waiting:
            self._waiting.popleft().result()
