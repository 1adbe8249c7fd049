"""Tells a waiting person how far a download is: a line that moves on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Protocol

from tfimm_resolver.ahead import start_thread

if TYPE_CHECKING:
    from rich.progress import Progress

log = logging.getLogger("tfimm_resolver.progress")

_LINE_S = 5.0
_REDRAW_S = 0.25
_RATE_S = 5.0
_FIRST_ESTIMATE_S = 2.0
_BAR_FROM_COLUMNS = 60
_FIGURES_COLUMNS = 60


class Meter(Protocol):
    """What a transfer tells of its progress."""

    def advance(self, size_bytes: int) -> None:
        """So many bytes came since the last call."""

    def finish(self, is_whole: bool) -> None:
        """No more will come; only a whole download is worth a closing word."""


class Drawing(Meter, Protocol):
    """A meter that somebody sees."""

    def note(self, line: str) -> None:
        """Say something that stays, above what moves."""


_joined: list[Callable[[Course], Meter]] = []


@contextlib.contextmanager
def shown(label: str, total_bytes: int | None, resumed_bytes: int = 0, *, quiet: bool) -> Iterator[Meter]:
    """A meter for one download, in the form that fits where stderr goes; some of it may have come earlier."""
    course = Course(label, total_bytes, resumed_bytes)
    meter = _joined[-1](course) if _joined else drawn(course, quiet=quiet)
    is_whole = False
    try:
        yield meter
        is_whole = True
    finally:
        meter.finish(is_whole)


@contextlib.contextmanager
def joined(part: Callable[[Course], Meter]) -> Iterator[None]:
    """For a while every download, of any thread, tells its progress to the meter that ``part`` makes for it."""
    _joined.append(part)
    try:
        yield
    finally:
        _joined.remove(part)


def drawn(course: Course, *, quiet: bool) -> Drawing:
    """A meter in the form that fits where stderr goes."""
    if quiet:
        return _Silent()
    if is_notebook():
        return _NotebookLine(course)
    # rich redraws a bar from a thread of its own.
    if is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb" and start_thread(lambda: None, "tfimm_resolver bar"):
        return _TerminalLine(course)
    return _Lines(course)


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether somebody looks at the stream; it may be closed, or missing."""
    return stream is not None and not stream.closed and stream.isatty()


def is_notebook() -> bool:
    """Whether IPython runs where its output is shown below the code."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # the latter is Colab's


class _Silent:
    def advance(self, size_bytes: int) -> None:
        pass

    def note(self, line: str) -> None:
        pass

    def finish(self, is_whole: bool) -> None:
        pass


@dataclass(slots=True)
class Course:
    """One download in numbers and words; the rate is that of the last five seconds, without what came earlier."""

    label: str
    total_bytes: int | None
    resumed_bytes: int = 0
    done_bytes: int = field(init=False)
    started_s: float = field(default_factory=time.monotonic)
    every_s: float = _LINE_S
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.done_bytes = self.resumed_bytes

    def advance(self, size_bytes: int) -> float:
        """Count, and say what time it is, in seconds."""
        now_s = time.monotonic()
        self.done_bytes += size_bytes
        self._recent.append((now_s, self.done_bytes))
        while now_s - self._recent[0][0] > _RATE_S:
            self._recent.popleft()
        return now_s

    def shift(self, size_bytes: int) -> None:
        """Count what did not come just now, or, below zero, what came in vain: the rate does not know of it."""
        self.done_bytes += size_bytes
        self._recent = deque((at_s, done_bytes + size_bytes) for at_s, done_bytes in self._recent)

    def words(self) -> str:
        return f"{self.label}  {self.figures()}"

    def figures(self, *, is_short: bool = False) -> str:
        total = f"/{in_words(self.total_bytes)}" if self.total_bytes else ""
        share = f"{min(100, 100 * self.done_bytes // self.total_bytes):3d}%  " if self.total_bytes else ""
        return f"{share}{in_words(self.done_bytes)}{total}{'' if is_short else self._pace()}"

    def _pace(self) -> str:
        if not self._recent or self._recent[-1][0] - self.started_s < _FIRST_ESTIMATE_S:
            return ""
        (from_s, from_bytes), (to_s, to_bytes) = self._recent[0], self._recent[-1]
        rate = (to_bytes - from_bytes) / max(to_s - from_s, 1e-9)
        left = f"  {max(0, self.total_bytes - self.done_bytes) / rate:.0f} s left" if self.total_bytes and rate else ""
        return f"  {in_words(int(rate))}/s{left}"

    def closing_words(self) -> str:
        earlier = f", {in_words(self.resumed_bytes)} of it earlier" if self.resumed_bytes else ""
        return f"{self.label}  {in_words(self.done_bytes)} in {time.monotonic() - self.started_s:.1f} s{earlier}"


class _Lines:
    """A line every few seconds and one at the end, to the log; to stderr where tensorflow_hub's variable asks for it."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._told_s = course.started_s

    def advance(self, size_bytes: int) -> None:
        now_s = self._course.advance(size_bytes)
        if now_s - self._told_s >= self._course.every_s:
            self._told_s = now_s
            self._tell(self._course.words())

    def note(self, line: str) -> None:
        self._tell(line)

    def finish(self, is_whole: bool) -> None:
        if is_whole:
            self._tell(self._course.closing_words())

    def _tell(self, line: str) -> None:
        is_wanted = os.environ.get("TFHUB_DOWNLOAD_PROGRESS") and sys.stderr is not None
        if is_wanted and not log.isEnabledFor(logging.INFO):
            sys.stderr.write(line + "\n")
        log.info(line)


class _NotebookLine:
    """One output that is rewritten at most four times a second, and stays in the saved notebook as its last line."""

    def __init__(self, course: Course) -> None:
        from IPython.display import display

        self._course = course
        self._drawn_s = course.started_s
        self._notes: list[str] = []
        show: Any = display
        self._handle = show(self._as_text(course.words()), raw=True, display_id=True)

    def advance(self, size_bytes: int) -> None:
        now_s = self._course.advance(size_bytes)
        if now_s - self._drawn_s >= _REDRAW_S:
            self._drawn_s = now_s
            self._draw(self._course.words())

    def note(self, line: str) -> None:
        self._notes.append(line)
        self._draw(self._course.words())

    def finish(self, is_whole: bool) -> None:
        self._draw(self._course.closing_words() if is_whole else self._course.words())

    def _draw(self, line: str) -> None:
        if self._handle is not None:
            self._handle.update(self._as_text(line), raw=True)

    def _as_text(self, line: str) -> dict[str, str]:
        return {"text/plain": "\n".join([*self._notes, line])}


class _TerminalLine:
    """A bar; downloads of other threads have theirs on the same board, since a terminal bears only one."""

    _lock = threading.Lock()
    _board: Progress | None = None
    _users = 0

    def __init__(self, course: Course) -> None:
        self._course = course
        self._columns = shutil.get_terminal_size().columns
        with self._lock:
            if _TerminalLine._board is None:
                _TerminalLine._board = _new_board(has_bar=self._columns >= _BAR_FROM_COLUMNS)
                _TerminalLine._board.start()
            _TerminalLine._users += 1
            self._progress = _TerminalLine._board
        label = cut(course.label, max(10, self._columns - (_FIGURES_COLUMNS if self._columns >= _BAR_FROM_COLUMNS else 26)))
        self._task = self._progress.add_task(
            label, total=course.total_bytes, completed=course.done_bytes, figures=self._figures()
        )

    def advance(self, size_bytes: int) -> None:
        self._course.advance(size_bytes)
        self._progress.update(self._task, completed=self._course.done_bytes, figures=self._figures())

    def note(self, line: str) -> None:
        self._progress.console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)

    def finish(self, is_whole: bool) -> None:
        with self._lock:
            self._progress.stop_task(self._task)
            _TerminalLine._users -= 1
            if not _TerminalLine._users:
                self._progress.stop()
                _TerminalLine._board = None

    def _figures(self) -> str:
        return self._course.figures(is_short=self._columns < _BAR_FROM_COLUMNS)


def _new_board(*, has_bar: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn

    bar: list[ProgressColumn] = [BarColumn(bar_width=12)] if has_bar else []
    label, figures = "  {task.description}", "{task.fields[figures]}"
    columns = (TextColumn(label, markup=False), *bar, TextColumn(figures, markup=False))
    return Progress(*columns, console=Console(stderr=True))


def cut(text: str, width: int | None) -> str:
    """A text that is too long for its place, cut in the middle; whole where there is no width."""
    if width is None or len(text) <= width:
        return text
    return f"{text[: (width - 1) // 2]}…{text[len(text) - width // 2 :]}"


def in_words(size_bytes: int) -> str:
    """A size for people: 1.4 kB, 54 MB."""
    size, units = float(size_bytes), iter(("B", "kB", "MB", "GB", "TB", "PB"))
    unit = next(units)
    while size >= 999.5:
        size, unit = size / 1000, next(units)
    return f"{size:.1f} {unit}" if unit != "B" and size < 9.95 else f"{size:.0f} {unit}"
