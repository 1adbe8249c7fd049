"""Several models at once: threads that bring them, and one line that tells of all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from tfimm_resolver._util.threads import DaemonThreadPool
from tfimm_resolver.progress import reporters
from tfimm_resolver.progress.reporters import ProgressDisplay
from tfimm_resolver.progress.stats import TransferStats

_LINE_S = 30.0
_FAREWELL_S = 3.0

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")


def map_parallel(
    work: Callable[[_Thing], _Result],
    things: Sequence[_Thing],
    *,
    jobs: int,
    label: str = "",
    total_bytes: int | None = None,
    quiet: bool = False,
) -> list[_Result]:
    """Do a work for each of several things, so many at once; the results have the order of the things.

    While they work, all they download is shown as one: ``label`` and ``total_bytes``, None where it is not known, are of
    the whole. When one fails, or at Ctrl-C, the others end, too, without leaving half a model.
    """
    running: list[threading.Event] = []

    def begin(thing: _Thing) -> _Result:
        running.append(over := threading.Event())
        try:
            return work(thing)
        finally:
            over.set()

    total = AggregateProgress(TransferStats(label, total_bytes, every_s=_LINE_S), quiet=quiet)
    with DaemonThreadPool(jobs) as crew, reporters.redirect_progress(total.part), total:
        try:
            futures = [crew.submit(begin, thing) for thing in things]
            return [future.result() for future in futures]
        except BaseException:
            crew.close()
            total.stop()
            until_s = time.monotonic() + _FAREWELL_S
            for over in running:
                over.wait(max(0.0, until_s - time.monotonic()))
            raise


class AggregateProgress:
    """The sum of several downloads, drawn once the first one has begun."""

    def __init__(self, course: TransferStats, *, quiet: bool) -> None:
        self._course, self._quiet = course, quiet
        self._drawing: ProgressDisplay | None = None
        self._lock = threading.Lock()
        self._is_stopped = False

    def __enter__(self) -> AggregateProgress:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._drawing is not None:
                self._drawing.finish(False)

    def stop(self) -> None:
        """End every download that tells its progress, or that it makes none."""
        self._is_stopped = True

    def part(self, course: TransferStats) -> ChildProgress:
        """The meter of one download."""
        with self._lock:
            self._drawing = self._drawing or reporters.make_display(self._course, quiet=self._quiet)
            self._course.resumed_bytes += course.resumed_bytes
            self._course.shift(course.resumed_bytes)
        return ChildProgress(self, course)

    def advance(self, size_bytes: int) -> None:
        """So many bytes came, of any of them."""
        if self._is_stopped:
            raise KeyboardInterrupt  # for this thread, as the process's own got it
        with self._lock:
            assert self._drawing is not None
            self._drawing.advance(size_bytes)

    def close(self, course: TransferStats, is_whole: bool) -> None:
        """One of them came whole, or in vain."""
        with self._lock:
            assert self._drawing is not None
            if is_whole:
                return self._drawing.note(course.closing_words())
            self._course.resumed_bytes -= course.resumed_bytes
            self._course.shift(-course.done_bytes)
            self._drawing.advance(0)


class ChildProgress:
    """One download of several."""

    def __init__(self, total: AggregateProgress, course: TransferStats) -> None:
        self._total, self._course = total, course

    def advance(self, size_bytes: int) -> None:
        self._course.advance(size_bytes)
        self._total.advance(size_bytes)

    def finish(self, is_whole: bool) -> None:
        self._total.close(self._course, is_whole)
