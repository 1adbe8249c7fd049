"""A small pool of daemon threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any, TypeVar

from tfimm_resolver._util import clock
from tfimm_resolver._util.cancellation import CancellationToken, get_current_token
from tfimm_resolver._util.queues import Channel
from tfimm_resolver._util.threads import start_thread

_POLL_INTERVAL_S = 0.2

_Result = TypeVar("_Result")


class InterruptibleFuture(Future[_Result]):
    """A future whose ``result`` waits in short steps, until a token is cancelled.

    A signal that arrives just before a wait begins is handled only when that wait ends: Ctrl-C would have no effect.
    """

    def __init__(self, token: CancellationToken) -> None:
        super().__init__()
        self._token = token

    def result(self, timeout: float | None = None) -> _Result:
        """Return the result, as ``Future.result`` does. Raises CancelledError once the token is cancelled."""
        until_s = float("inf") if timeout is None else clock.get_monotonic_s() + timeout
        while not self.done() and (left_s := until_s - clock.get_monotonic_s()) > 0:
            self._token.raise_if_cancelled()
            wait([self], min(_POLL_INTERVAL_S, left_s))
        return super().result(0)


class DaemonThreadPool:
    """A pool of daemon threads.

    Unlike the threads of an executor, they do not delay the closing of the pool or the exit of the process. Their results
    are for the work of the thread that makes the pool: waiting for one ends when that work is cancelled.
    """

    def __init__(self, size: int) -> None:
        self._size, self._worker_count, self._token = size, 0, get_current_token()
        self._tasks = Channel()

    def __enter__(self) -> DaemonThreadPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, func: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
        """Queue a call; runs it at once where no thread can be started."""
        future: Future[_Result] = InterruptibleFuture(self._token)

        def run_task() -> None:
            try:
                future.set_result(func(*arguments))
            except BaseException as error:  # raised by future.result()
                future.set_exception(error)

        if self._worker_count < self._size and start_thread(self._run, "tfimm_resolver worker") is not None:
            self._worker_count += 1
        if self._worker_count:
            self._tasks.put(run_task)
        else:
            run_task()
            if not isinstance(future.exception(), (Exception, type(None))):
                future.result()  # Ctrl-C, for example: no further task may begin
        return future

    def wait_for_all(self, futures: Iterable[Future[Any]]) -> None:
        """Wait until all calls are done or one has failed, and raise the error of that one at once."""
        pending = {*futures}
        while pending:
            self._token.raise_if_cancelled()
            done, pending = wait(pending, _POLL_INTERVAL_S, FIRST_EXCEPTION)
            for future in done:
                future.result()

    def close(self) -> None:
        """Drop queued tasks and return without waiting for running ones."""
        self._tasks.clear()
        for _ in range(self._worker_count):
            self._tasks.put(None)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
