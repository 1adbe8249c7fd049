"""The pool of daemon threads: results, errors, signals."""

from __future__ import annotations

import pytest

from tests.fakes.processes import start
from tfimm_resolver._util.thread_pool import DaemonThreadPool


def test_a_signal_that_does_not_interrupt_the_wait_for_a_pool_is_handled_soon() -> None:
    """Such as one that arrives just before the wait begins; here another thread receives it."""
    with start(
        """
        import os, signal, threading
        from tfimm_resolver._util.thread_pool import DaemonThreadPool

        def end(*_):
            raise SystemExit(7)

        def wait_forever():
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(100)

        signal.signal(signal.SIGTERM, end)
        with DaemonThreadPool(1) as pool:
            pool.submit(int).result()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            pool.submit(wait_forever).result()
        """
    ) as waiting:
        try:
            assert waiting.wait(60) == 7
        finally:
            waiting.kill()


def test_a_pool_returns_results_and_errors_unchanged() -> None:
    def fail() -> None:
        raise TimeoutError("of the task")

    with DaemonThreadPool(2) as pool:
        assert [one.result() for one in [pool.submit(abs, number) for number in (-1, -2, -3)]] == [1, 2, 3]
        with pytest.raises(TimeoutError, match="of the task"):
            pool.submit(fail).result()
