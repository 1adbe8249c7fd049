"""Runs several downloads in parallel, with one aggregate progress display."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import TypeVar

from tfimm_resolver._util import clock
from tfimm_resolver._util.cancellation import CancellationToken
from tfimm_resolver._util.thread_pool import DaemonThreadPool
from tfimm_resolver.errors import HandleError
from tfimm_resolver.progress import reporters
from tfimm_resolver.progress.reporters import ProgressDisplay
from tfimm_resolver.progress.stats import TransferStats

JOBS_MAX = 64
"""How many calls may run at the same time."""

_LINE_INTERVAL_S = 30.0
_JOIN_TIMEOUT_S = 3.0
_POLL_INTERVAL_S = 0.2  # a signal that arrives just before a wait begins is handled only when that wait ends

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_parallel(
    func: Callable[[_Item], _Result],
    items: Sequence[_Item],
    *,
    jobs: int,
    label: str = "",
    total_bytes: int | None = None,
    quiet: bool = False,
) -> list[_Result]:
    """Call ``func`` for each item, ``jobs`` at a time, and return the results in the order of the items.

    All downloads of the calls are shown as one. After a failure or Ctrl-C the token of the calls is cancelled: they end as
    well, and leave no incomplete model.

    Args:
        label: the name of the whole in the display.
        total_bytes: the size of all downloads together, or None if it is not known.
        quiet: show nothing.

    Raises:
        HandleError: if ``jobs`` is not a number from 1 to 64; also what ``func`` raises.
    """
    if not isinstance(jobs, int) or not 1 <= jobs <= JOBS_MAX:
        raise HandleError(f"jobs is a number from 1 to {JOBS_MAX}, not {jobs!r:.80}")
    running, token = list[threading.Event](), CancellationToken()

    def run(item: _Item) -> _Result:
        running.append(done_event := threading.Event())
        try:
            with token.activate():
                return func(item)
        finally:
            done_event.set()

    total = AggregateProgress(TransferStats(label, total_bytes, line_interval_s=_LINE_INTERVAL_S), quiet=quiet)
    with DaemonThreadPool(jobs) as pool, reporters.redirect_progress(total.add_child), total:
        try:
            futures = [pool.submit(run, item) for item in items]
            _wait_for_first_failure(futures)
            return [future.result() for future in futures]
        except BaseException:
            pool.close()
            token.cancel()
            until_s = clock.get_monotonic_s() + _JOIN_TIMEOUT_S
            for done_event in running:
                done_event.wait(max(0.0, until_s - clock.get_monotonic_s()))
            raise


def _wait_for_first_failure(futures: Sequence[Future[_Result]]) -> None:
    """Wait for all results, or raise the first error, without waiting for the calls that still run."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, _POLL_INTERVAL_S, FIRST_EXCEPTION)
        for future in [future for future in futures if future in done]:
            future.result()


class AggregateProgress:
    """The sum of several downloads, displayed once the first of them has started."""

    def __init__(self, stats: TransferStats, *, quiet: bool) -> None:
        self._stats, self._quiet = stats, quiet
        self._display: ProgressDisplay | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> AggregateProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._lock:
            if self._display is not None:
                self._display.finish(kind is None and self._display.replaces_line)

    def add_child(self, stats: TransferStats) -> ChildProgress:
        """Return the reporter of one download."""
        with self._lock:
            self._display = self._display or reporters.make_display(self._stats, quiet=self._quiet)
            self._stats.resumed_bytes += stats.resumed_bytes
            self._stats.adjust(stats.resumed_bytes)
        return ChildProgress(self, stats)

    def advance(self, size_bytes: int) -> None:
        """Count bytes of any of the downloads."""
        with self._lock:
            assert self._display is not None
            self._display.advance(size_bytes)

    def finish_child(self, stats: TransferStats, succeeded: bool) -> None:
        """Print the summary of a download that succeeded, or subtract the bytes of one that failed."""
        with self._lock:
            assert self._display is not None
            if succeeded:
                return self._display.print_above(stats.format_summary())
            self._stats.resumed_bytes -= stats.resumed_bytes
            self._stats.adjust(-stats.done_bytes)
            self._display.advance(0)


class ChildProgress:
    """The reporter of one of several downloads."""

    def __init__(self, total: AggregateProgress, stats: TransferStats) -> None:
        self._total, self._stats = total, stats

    def advance(self, size_bytes: int) -> None:
        self._stats.advance(size_bytes)
        self._total.advance(size_bytes)

    def finish(self, succeeded: bool) -> None:
        self._total.finish_child(self._stats, succeeded)
