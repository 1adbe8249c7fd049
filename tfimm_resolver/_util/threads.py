"""Overlaps work: a stream that is read ahead, deeds that are done behind, and deeds that are done at once, by threads."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

_WAITING = 16
_TICK_S = 0.2
_FAREWELL_S = 2.0

_Result = TypeVar("_Result")


def start_thread(target: Callable[..., object], name: str, *arguments: object) -> threading.Thread | None:
    """Start a daemon thread; None where the system starts no more of them.

    That is so at a limit of processes, and, from Python 3.12 on, as soon as the main thread has ended or ``atexit`` runs.
    Callers then do the work themselves.
    """
    thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


class BoundedQueue:
    """Carries things from one thread to another, in order, a few at a time."""

    def __init__(self) -> None:
        self._things: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(_WAITING):
            self._room.put(None)

    def put(self, thing: object, timeout_s: float | None = None) -> None:
        """Wait for room. Raises queue.Empty after ``timeout_s``."""
        self._room.get(timeout=timeout_s)
        self._things.put(thing)

    def get(self, timeout_s: float | None = None) -> object:
        """Wait for the next thing. Raises queue.Empty after ``timeout_s``."""
        return self._things.get(timeout=timeout_s)

    def done(self) -> None:
        """Make room for another, once the one that was got is no longer needed."""
        self._room.put(None)

    def drained(self) -> None:
        """Wait until nothing is under way."""
        rooms = 0
        try:
            while rooms < _WAITING:
                self._room.get()
                rooms += 1
        finally:  # after Ctrl-C, too: what ends the thread needs room
            for _ in range(rooms):
                self._room.put(None)


class PrefetchReader:
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
        self._pieces = BoundedQueue()
        self._left = b""
        self._is_closed = self._is_over = False
        self._thread = start_thread(self._run, "tfimm_resolver ahead")

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end. Raises what ``fetch`` raised."""
        piece = self._left or self._next()
        self._left = piece[size:]
        return piece[:size]

    def close(self) -> None:
        """End the thread; it is not waited for longer than a moment, if its fetch does not return."""
        self._is_closed = True
        self._stop()
        if self._thread is not None:
            self._thread.join(_FAREWELL_S)

    def _next(self) -> bytes:
        self._tick()
        if self._thread is None:
            piece = b"" if self._is_over else self._fetch()
            self._is_over = not piece
            return piece
        return self._next_from_thread()

    def _next_from_thread(self) -> bytes:
        while not self._is_over:
            try:
                piece = self._pieces.get(_TICK_S)
            except queue.Empty:
                self._tick()
                continue
            self._pieces.done()
            if isinstance(piece, bytes) and piece:
                return piece
            self._is_over = True
            if isinstance(piece, BaseException):
                try:
                    raise piece
                finally:
                    del piece  # its traceback holds this frame: together they would keep a connection open
        return b""

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
                return self._pieces.put(piece, _TICK_S)
            except queue.Empty:
                pass


class BackgroundWriter:
    """Deeds that a thread does in the order in which they were given; after one that fails, no other."""

    def __init__(self) -> None:
        self._deeds = BoundedQueue()
        self._error: BaseException | None = None
        self._thread = start_thread(self._run, "tfimm_resolver behind")

    def do(self, deed: Callable[..., object], *arguments: object) -> None:
        """Have a deed done. Raises what an earlier one raised."""
        if self._error is not None:
            raise self._error
        self._submit(deed, arguments, False)

    def do_anyway(self, deed: Callable[[], object]) -> None:
        """Have a deed done, whatever became of earlier ones."""
        self._submit(deed, (), True)

    def finish(self) -> None:
        """Wait until all is done. Raises what one of them raised."""
        if self._thread is not None:
            self._deeds.drained()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread, once all is done that was given."""
        if self._thread is not None:
            self._deeds.put(None)
            self._thread.join()

    def _submit(self, deed: Callable[..., object], arguments: tuple[object, ...], is_due: bool) -> None:
        if self._thread is None:
            self._run_one(deed, arguments, is_due)
        else:
            self._deeds.put((deed, arguments, is_due))

    def _run(self) -> None:
        while isinstance(given := self._deeds.get(), tuple):
            self._run_one(*given)
            del given  # a piece is not kept for longer than it is needed
            self._deeds.done()

    def _run_one(self, deed: Callable[..., object], arguments: tuple[object, ...], is_due: bool) -> None:
        try:
            if is_due or self._error is None:
                deed(*arguments)
        except BaseException as error:  # it is raised where the next deed is given
            self._error = self._error or error


class InterruptibleFuture(Future[_Result]):
    """What a deed will give; who waits for it looks up now and then.

    A signal that comes in the moment before a wait begins is seen only when that ends: Ctrl-C would do nothing.
    """

    def result(self, timeout: float | None = None) -> _Result:
        """As that of any future."""
        while timeout is None and not self.done():
            wait([self], _TICK_S)
        return super().result(timeout)


class DaemonThreadPool:
    """A few threads that do deeds at once.

    They are daemons: unlike those of an executor, they hold up neither who closes this nor the end of the process.
    """

    def __init__(self, size: int) -> None:
        self._size, self._hired = size, 0
        self._deeds: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def __enter__(self) -> DaemonThreadPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, deed: Callable[..., _Result], *things: Any) -> Future[_Result]:
        """Have it done, in its turn."""
        done: Future[_Result] = InterruptibleFuture()

        def work() -> None:
            try:
                done.set_result(deed(*things))
            except BaseException as error:  # it is raised where the result is wanted
                done.set_exception(error)

        if self._hired < self._size and start_thread(self._run, "tfimm_resolver crew") is not None:
            self._hired += 1
        if self._hired:
            self._deeds.put(work)
        else:
            work()
        return done

    def close(self) -> None:
        """Let what was not begun be, and wait for nothing."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._deeds.get_nowait()
        for _ in range(self._hired):
            self._deeds.put(None)

    def _run(self) -> None:
        while (work := self._deeds.get()) is not None:
            work()
