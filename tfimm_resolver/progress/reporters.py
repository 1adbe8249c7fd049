"""Reports the progress of downloads, on the display that suits stderr or to another reporter."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

from tfimm_resolver._util import clock
from tfimm_resolver._util.terminal import is_notebook, is_terminal
from tfimm_resolver._util.threads import start_thread
from tfimm_resolver.progress import events
from tfimm_resolver.progress.renderers import LogDisplay, NotebookDisplay, SilentDisplay, TerminalDisplay
from tfimm_resolver.progress.stats import TransferStats


class ProgressReporter(Protocol):
    """Receives the progress of one download."""

    def advance(self, size_bytes: int) -> None:
        """Count the bytes received since the last call."""

    def finish(self, succeeded: bool) -> None:
        """End the report, with a summary only if the download succeeded."""


class ProgressDisplay(ProgressReporter, Protocol):
    """A reporter that shows the progress to a person.

    Attributes:
        replaces_line: whether the summary replaces the moving line, instead of being one more line.
    """

    replaces_line: bool

    def print_finished(self, stats: TransferStats) -> None:
        """Print a permanent line about one of several downloads, above the moving one."""


_redirects: list[Callable[[TransferStats], ProgressReporter]] = []


@contextlib.contextmanager
def report_progress(label: str, total_bytes: int | None, resumed_bytes: int = 0, *, quiet: bool) -> Iterator[ProgressReporter]:
    """Yield the reporter of one download: that of the innermost ``redirect_progress``, else the display that suits stderr.

    Args:
        label: the name of the download in the display.
        total_bytes: its size, or None if it is not known.
        resumed_bytes: how many of them an earlier attempt received.
        quiet: show nothing.
    """
    stats = TransferStats(label, total_bytes, resumed_bytes)
    reporter = _redirects[-1](stats) if _redirects else make_display(stats, quiet=quiet)
    if (operation := events.get_current_operation()) is not None:
        reporter = _EventReporter(reporter, operation, total_bytes, resumed_bytes)
    succeeded = False
    try:
        yield reporter
        succeeded = True
    finally:
        reporter.finish(succeeded)


class _EventReporter:
    """Reports to another reporter, and emits events of the operation that the download belongs to."""

    def __init__(
        self, reporter: ProgressReporter, operation: events.Operation, total_bytes: int | None, resumed_bytes: int
    ) -> None:
        self._reporter, self._operation, self._total_bytes = reporter, operation, total_bytes
        self._done_bytes, self._emitted_s = resumed_bytes, clock.get_monotonic_s()
        events.emit("fetch.start", operation, total_bytes=total_bytes, resumed_bytes=resumed_bytes)

    def advance(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes
        self._operation.fetched_bytes += size_bytes
        self._reporter.advance(size_bytes)
        now_s = clock.get_monotonic_s()
        if now_s - self._emitted_s >= events.BYTES_INTERVAL_S:
            self._emitted_s = now_s
            events.emit("fetch.bytes", self._operation, done_bytes=self._done_bytes, total_bytes=self._total_bytes)

    def finish(self, succeeded: bool) -> None:
        self._reporter.finish(succeeded)


@contextlib.contextmanager
def redirect_progress(make_reporter: Callable[[TransferStats], ProgressReporter]) -> Iterator[None]:
    """Make every download within the block, in any thread, report to what ``make_reporter`` returns for it."""
    _redirects.append(make_reporter)
    try:
        yield
    finally:
        _redirects.remove(make_reporter)


def make_display(stats: TransferStats, *, quiet: bool) -> ProgressDisplay:
    """Return the display that suits stderr: a notebook, a terminal, or anything else."""
    if quiet or events.prints_json():
        return SilentDisplay()
    if is_notebook():
        return NotebookDisplay(stats)
    # rich redraws a bar from a thread of its own.
    if is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb" and start_thread(lambda: None, "tfimm_resolver bar"):
        return TerminalDisplay(stats)
    return LogDisplay(stats)
