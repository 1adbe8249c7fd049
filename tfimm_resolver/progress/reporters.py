"""Reports the progress of downloads, on the display that suits stderr or to another reporter."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

from tfimm_resolver._util.terminal import is_notebook, is_terminal
from tfimm_resolver._util.threads import start_thread
from tfimm_resolver.progress.renderers import LogDisplay, NotebookDisplay, SilentDisplay, TerminalDisplay
from tfimm_resolver.progress.stats import TransferStats


class ProgressReporter(Protocol):
    """Receives the progress of one download."""

    def advance(self, size_bytes: int) -> None:
        """Count the bytes received since the last call."""

    def finish(self, succeeded: bool) -> None:
        """End the report, with a summary only if the download succeeded."""


class ProgressDisplay(ProgressReporter, Protocol):
    """A reporter that shows the progress to a person."""

    def print_above(self, line: str) -> None:
        """Print a permanent line above the moving one."""


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
    succeeded = False
    try:
        yield reporter
        succeeded = True
    finally:
        reporter.finish(succeeded)


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
    if quiet:
        return SilentDisplay()
    if is_notebook():
        return NotebookDisplay(stats)
    # rich redraws a bar from a thread of its own.
    if is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb" and start_thread(lambda: None, "tfimm_resolver bar"):
        return TerminalDisplay(stats)
    return LogDisplay(stats)
