"""Tells a waiting person how far a download is: a line that moves on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from tfimm_resolver._util.terminal import is_notebook, is_terminal
from tfimm_resolver._util.threads import start_thread
from tfimm_resolver.progress.renderers import _Lines, _NotebookLine, _Silent, _TerminalLine
from tfimm_resolver.progress.stats import TransferStats

if TYPE_CHECKING:
    pass


class ProgressReporter(Protocol):
    """What a transfer tells of its progress."""

    def advance(self, size_bytes: int) -> None:
        """So many bytes came since the last call."""

    def finish(self, is_whole: bool) -> None:
        """No more will come; only a whole download is worth a closing word."""


class ProgressDisplay(ProgressReporter, Protocol):
    """A meter that somebody sees."""

    def note(self, line: str) -> None:
        """Say something that stays, above what moves."""


_redirects: list[Callable[[TransferStats], ProgressReporter]] = []


@contextlib.contextmanager
def report_progress(label: str, total_bytes: int | None, resumed_bytes: int = 0, *, quiet: bool) -> Iterator[ProgressReporter]:
    """A meter for one download, in the form that fits where stderr goes; some of it may have come earlier."""
    course = TransferStats(label, total_bytes, resumed_bytes)
    meter = _redirects[-1](course) if _redirects else make_display(course, quiet=quiet)
    is_whole = False
    try:
        yield meter
        is_whole = True
    finally:
        meter.finish(is_whole)


@contextlib.contextmanager
def redirect_progress(part: Callable[[TransferStats], ProgressReporter]) -> Iterator[None]:
    """For a while every download, of any thread, tells its progress to the meter that ``part`` makes for it."""
    _redirects.append(part)
    try:
        yield
    finally:
        _redirects.remove(part)


def make_display(course: TransferStats, *, quiet: bool) -> ProgressDisplay:
    """A meter in the form that fits where stderr goes."""
    if quiet:
        return _Silent()
    if is_notebook():
        return _NotebookLine(course)
    # rich redraws a bar from a thread of its own.
    if is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb" and start_thread(lambda: None, "tfimm_resolver bar"):
        return _TerminalLine(course)
    return _Lines(course)
