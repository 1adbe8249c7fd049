"""Background threads: read-ahead streams, write-behind tasks, and calls that can be abandoned."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from tfimm_resolver._util.cancellation import NEVER, CancelledError, get_current_token
from tfimm_resolver._util.queues import BoundedQueue, WaitTimeoutError

_POLL_INTERVAL_S = 0.2
_JOIN_TIMEOUT_S = 2.0
_SHORT_STREAM_BYTES = 1 << 16
_TASKS_WITHOUT_THREAD = 16

_Result = TypeVar("_Result")


def start_thread(target: Callable[..., object], name: str, *arguments: object) -> threading.Thread | None:
    """Start a daemon thread, or return None if the system cannot start another one; callers then do the work themselves.

    Threads cannot be started at a limit of processes and, from Python 3.12 on, once the main thread has ended or ``atexit``
    handlers run. None are started where they could not share a socket.
    """
    if _are_sockets_bound_to_threads():
        return None
    thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def _are_sockets_bound_to_threads() -> bool:
    """Whether a package replaced sockets, but not threads: then each socket only works in the thread that opened it.

    That is ``gevent.monkey.patch_all(thread=False)``, as grequests calls it, or ``eventlet.monkey_patch(thread=False)``.
    """
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched("socket") and not gevent.is_module_patched("threading"):
        return True
    return eventlet is not None and eventlet.is_monkey_patched("socket") and not eventlet.is_monkey_patched("thread")


class PrefetchReader:
    """A stream whose chunks are read ahead by a background thread.

    The thread is a daemon: closing the stream does not wait for bytes that may never arrive. Reading ends when the work of
    the thread that makes the stream is cancelled.
    """

    def __init__(
        self,
        read_chunk: Callable[[], bytes],
        on_wait: Callable[[], None] = lambda: None,
        interrupt: Callable[[], None] = lambda: None,
        *,
        size_bytes: int | None = None,
    ) -> None:
        """Start to read.

        Args:
            read_chunk: returns the next chunk, empty at the end.
            on_wait: called before each wait for a chunk and repeatedly during it, in the thread that calls ``read``.
            interrupt: makes a blocked ``read_chunk`` return.
            size_bytes: how much there is to read, if known. A short stream is read without a thread, which would take longer
                to start than it saves, except if the work can be cancelled: that has to end a blocked ``read_chunk``.
        """
        self._read_chunk, self._on_wait, self._interrupt = read_chunk, on_wait, interrupt
        self._token = get_current_token()
        self._rest = b""
        self._is_closed = self._is_at_end = False
        is_short = size_bytes is not None and size_bytes <= _SHORT_STREAM_BYTES
        has_thread = not is_short or self._token is not NEVER
        self._thread: threading.Thread | None = None
        if has_thread:
            self._chunks = BoundedQueue()
            self._thread = start_thread(self._run, "tfimm_resolver prefetch")

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, empty at the end. Raises the error of ``read_chunk``, or CancelledError."""
        chunk = self._rest or self._next_chunk()
        self._rest = chunk[size:]
        return chunk[:size]

    def close(self) -> None:
        """End the thread; wait only briefly if its ``read_chunk`` does not return."""
        self._is_closed = True
        self._interrupt()
        if self._thread is not None:
            self._thread.join(_JOIN_TIMEOUT_S)

    def _next_chunk(self) -> bytes:
        self._on_wait()
        self._token.raise_if_cancelled()
        if self._thread is None:
            chunk = b"" if self._is_at_end else self._read_chunk()
            self._is_at_end = not chunk
            return chunk
        return self._next_chunk_from_thread()

    def _next_chunk_from_thread(self) -> bytes:
        while not self._is_at_end:
            try:
                item = self._chunks.get(_POLL_INTERVAL_S)
            except WaitTimeoutError:
                self._on_wait()
                self._token.raise_if_cancelled()
                continue
            self._chunks.task_done()
            if isinstance(item, bytes) and item:
                return item
            self._is_at_end = True
            if isinstance(item, BaseException):
                try:
                    raise item
                finally:
                    del item  # its traceback refers to this frame: the cycle would keep a connection open
        return b""

    def _run(self) -> None:
        item: bytes | BaseException = b"start"
        while item and not isinstance(item, BaseException) and not self._is_closed:
            try:
                item = self._read_chunk()
            except BaseException as error:  # raised in the reading thread
                item = error
            self._put(item)

    def _put(self, item: bytes | BaseException) -> None:
        while not self._is_closed:
            try:
                return self._chunks.put(item, _POLL_INTERVAL_S)
            except WaitTimeoutError:
                pass


def call_cancellably(call: Callable[[], _Result], discard: Callable[[_Result], object] = lambda _: None) -> _Result:
    """Call a function that waits for the network; if the current token can be cancelled, in another thread.

    That thread is abandoned when the token is cancelled: a request without an answer cannot be ended from outside. A result
    that arrives later goes to ``discard``.
    """
    if get_current_token() is NEVER:
        return call()
    from tfimm_resolver._util.thread_pool import DaemonThreadPool  # takes 1 ms

    with DaemonThreadPool(1) as pool:
        pending = pool.submit(call)
        try:
            return pending.result()
        except CancelledError:
            pending.add_done_callback(lambda late: late.exception() or discard(late.result()))
            raise


class BackgroundWriter:
    """Runs tasks in order on a background thread; after the first failure the remaining tasks are skipped.

    The thread is started for the first task after ``tasks_before_thread``, by default a few: to start it takes longer than
    they do. Until then, tasks run in the calling thread.
    """

    def __init__(self, tasks_before_thread: int = _TASKS_WITHOUT_THREAD) -> None:
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._tasks_before_thread = tasks_before_thread

    def submit(self, task: Callable[..., object], *arguments: object) -> None:
        """Queue a task. Raises the error of an earlier one."""
        if self._error is not None:
            raise self._error
        if self._thread is None:
            self._tasks_before_thread -= 1
            if self._tasks_before_thread < 0:
                self._tasks = BoundedQueue()
                self._thread = start_thread(self._run, "tfimm_resolver writer")
        self._enqueue(task, arguments, False)

    def submit_cleanup(self, task: Callable[[], object]) -> None:
        """Queue a task that runs even after an earlier one failed; it takes no time, and needs no thread."""
        self._enqueue(task, (), True)

    def flush(self) -> None:
        """Wait until every task has run. Raises the first error."""
        if self._thread is not None:
            self._tasks.join()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Wait until every task has run, and end the thread."""
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join()

    def _enqueue(self, task: Callable[..., object], arguments: tuple[object, ...], is_cleanup: bool) -> None:
        if self._thread is not None:
            return self._tasks.put((task, arguments, is_cleanup))
        self._run_task(task, arguments, is_cleanup)
        if not isinstance(self._error, (Exception, type(None))):
            raise self._error  # Ctrl-C, for example: the caller has to stop now

    def _run(self) -> None:
        while isinstance(item := self._tasks.get(), tuple):
            self._run_task(*item)
            del item  # release the chunk as soon as it is written
            self._tasks.task_done()

    def _run_task(self, task: Callable[..., object], arguments: tuple[object, ...], is_cleanup: bool) -> None:
        try:
            if is_cleanup or self._error is None:
                task(*arguments)
        except BaseException as error:  # raised by the next submit or flush
            self._error = self._error or error
