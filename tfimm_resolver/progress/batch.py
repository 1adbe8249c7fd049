"""Runs several downloads in parallel, with one aggregate progress display."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import TypeVar

from tfimm_resolver._util import clock
from tfimm_resolver._util.cancellation import CancellationToken
from tfimm_resolver._util.text import format_count
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

_item_label: contextvars.ContextVar[str] = contextvars.ContextVar("tfimm_resolver_item_label", default="")

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_parallel(
    func: Callable[[_Item], _Result],
    items: Sequence[_Item],
    *,
    jobs: int,
    noun: str = "model",
    get_label: Callable[[_Item], str] | None = None,
    total_bytes: int | None = None,
    quiet: bool = False,
) -> list[_Result]:
    """Call ``func`` for each item, ``jobs`` at a time, and return the results in the order of the items.

    All downloads of the calls are shown as one. After a failure or Ctrl-C the token of the calls is cancelled: they end as
    well, and leave no incomplete model.

    Args:
        noun: what an item is, for the display.
        get_label: returns the name of an item in the display; by default that of its download.
        total_bytes: the size of all downloads together, or None if it is not known before they have begun.
        quiet: show nothing.

    Raises:
        HandleError: if ``jobs`` is not a number from 1 to 64; also what ``func`` raises.
    """
    if not isinstance(jobs, int) or not 1 <= jobs <= JOBS_MAX:
        raise HandleError(f"jobs is a number from 1 to {JOBS_MAX}, not {jobs!r:.80}")
    running, token = list[threading.Event](), CancellationToken()

    total = AggregateProgress(len(items), noun, total_bytes, quiet=quiet)

    def run(item: _Item) -> _Result:
        running.append(done_event := threading.Event())
        try:
            with token.activate(), total.count_item(get_label(item) if get_label else ""):
                return func(item)
        finally:
            done_event.set()

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
    """The sum of the downloads of several items, displayed once the first of them has started."""

    def __init__(self, count: int, noun: str, total_bytes: int | None, *, quiet: bool) -> None:
        self._count, self._noun, self._quiet = count, noun, quiet
        self._stats = TransferStats(format_count(count, noun), total_bytes, line_interval_s=_LINE_INTERVAL_S, is_sum=True)
        self._is_total_known = total_bytes is not None
        self._children: list[TransferStats] = []
        self._started, self._finished = 0, 0
        self._display: ProgressDisplay | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> AggregateProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._lock:
            if self._display is not None:
                has_sum = self._end()
                self._display.finish(has_sum or (kind is None and self._display.replaces_line))

    @contextlib.contextmanager
    def count_item(self, label: str) -> Iterator[None]:
        """Count an item that is processed within the block; its downloads are displayed with its label, if it has one."""
        before = _item_label.set(label)
        with self._lock:
            self._started += 1
        try:
            yield
        finally:
            _item_label.reset(before)

    def add_child(self, stats: TransferStats) -> ChildProgress:
        """Return the reporter of one download."""
        with self._lock:
            stats.label = _item_label.get() or stats.label
            self._children.append(stats)
            if self._count == 1:
                self._stats.label = stats.label
            self._display = self._display or reporters.make_display(self._stats, quiet=self._quiet)
            self._stats.resumed_bytes += stats.resumed_bytes
            self._stats.adjust(stats.resumed_bytes)
            self._update()
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
                self._finished += 1
                self._update()
                return self._display.print_finished(stats)
            self._children.remove(stats)
            self._stats.resumed_bytes -= stats.resumed_bytes
            self._stats.adjust(-stats.done_bytes)
            self._update()
            self._display.advance(0)

    def _update(self) -> None:
        """Update the label and, unless it was known before, the total, which is known once the last item has started."""
        if self._count > 1:
            self._stats.label = f"{min(self._finished, self._count)} of {format_count(self._count, self._noun)}"
        if not self._is_total_known:
            sizes = [child.total_bytes for child in self._children]
            known = [size_bytes for size_bytes in sizes if size_bytes is not None]
            is_complete = self._started >= self._count and len(known) == len(sizes)
            self._stats.total_bytes = sum(known) if is_complete else None

    def _end(self) -> bool:
        """Prepare the last line, and return whether there is one: a single download has its own already."""
        self._stats.label = format_count(self._finished, self._noun)
        return self._finished > 1


@contextlib.contextmanager
def report_sum(noun: str = "model", *, quiet: bool) -> Iterator[None]:
    """Show each download of the block by itself, since they run one after the other, and at the end the sum of several."""
    total, finished = TransferStats("", None, is_sum=True), list[TransferStats]()

    def make_reporter(stats: TransferStats) -> _CountingReporter:
        return _CountingReporter(reporters.make_display(stats, quiet=quiet), stats, finished)

    with reporters.redirect_progress(make_reporter):
        yield
    if len(finished) > 1:
        total.label = format_count(len(finished), noun)
        total.done_bytes = sum(stats.done_bytes for stats in finished)
        total.resumed_bytes = sum(stats.resumed_bytes for stats in finished)
        reporters.make_display(total, quiet=quiet).finish(True)


class _CountingReporter:
    """Passes everything on to a display, and notes a download that succeeded."""

    def __init__(self, display: ProgressDisplay, stats: TransferStats, finished: list[TransferStats]) -> None:
        self._display, self._stats, self._finished = display, stats, finished

    def advance(self, size_bytes: int) -> None:
        self._display.advance(size_bytes)

    def finish(self, succeeded: bool) -> None:
        self._display.finish(succeeded)
        if succeeded:
            self._finished.append(self._stats)


class ChildProgress:
    """The reporter of one of several downloads."""

    def __init__(self, total: AggregateProgress, stats: TransferStats) -> None:
        self._total, self._stats = total, stats

    def advance(self, size_bytes: int) -> None:
        self._stats.advance(size_bytes)
        self._total.advance(size_bytes)

    def finish(self, succeeded: bool) -> None:
        self._total.finish_child(self._stats, succeeded)
