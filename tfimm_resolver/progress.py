"""Tells a waiting person how far a download is: a line that moves on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress

log = logging.getLogger("tfimm_resolver.progress")

_LINE_S = 5.0
_REDRAW_S = 0.25
_RATE_S = 5.0
_FIRST_ESTIMATE_S = 2.0


class Meter(Protocol):
    """What a transfer tells of its progress; ``advance`` takes the bytes that came since the last call."""

    def advance(self, size_bytes: int) -> None: ...
    def finish(self) -> None: ...


@contextlib.contextmanager
def shown(label: str, total_bytes: int | None, *, quiet: bool) -> Iterator[Meter]:
    """A meter for one download, in the form that fits where stderr goes."""
    meter = _Silent() if quiet else _meter(label, total_bytes)
    try:
        yield meter
    finally:
        meter.finish()


def _meter(label: str, total_bytes: int | None) -> Meter:
    if _is_notebook():
        return _NotebookLine(_Course(label, total_bytes))
    if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return _TerminalLine(label, total_bytes)
    return _Lines(_Course(label, total_bytes))


def _is_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # the latter is Colab's


class _Silent:
    def advance(self, size_bytes: int) -> None:
        pass

    def finish(self) -> None:
        pass


@dataclass(slots=True)
class _Course:
    """One download in numbers and words; the rate is that of the last five seconds."""

    label: str
    total_bytes: int | None
    done_bytes: int = 0
    started_s: float = field(default_factory=time.monotonic)
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def advance(self, size_bytes: int) -> float:
        """Count, and say what time it is, in seconds."""
        now_s = time.monotonic()
        self.done_bytes += size_bytes
        self._recent.append((now_s, self.done_bytes))
        while now_s - self._recent[0][0] > _RATE_S:
            self._recent.popleft()
        return now_s

    def words(self) -> str:
        total = f"/{in_words(self.total_bytes)}" if self.total_bytes else ""
        share = f"  {100 * self.done_bytes // self.total_bytes:3d}%" if self.total_bytes else ""
        return f"{self.label}{share}  {in_words(self.done_bytes)}{total}{self._pace()}"

    def _pace(self) -> str:
        if not self._recent or self._recent[-1][0] - self.started_s < _FIRST_ESTIMATE_S:
            return ""
        (from_s, from_bytes), (to_s, to_bytes) = self._recent[0], self._recent[-1]
        rate = (to_bytes - from_bytes) / max(to_s - from_s, 1e-9)
        left = f"  {(self.total_bytes - self.done_bytes) / rate:.0f} s left" if self.total_bytes and rate else ""
        return f"  {in_words(int(rate))}/s{left}"

    def closing_words(self) -> str:
        return f"{self.label}  {in_words(self.done_bytes)} in {time.monotonic() - self.started_s:.1f} s"


class _Lines:
    """A line every few seconds and one at the end, to the log; to stderr where tensorflow_hub's variable asks for it."""

    def __init__(self, course: _Course) -> None:
        self._course = course
        self._told_s = course.started_s

    def advance(self, size_bytes: int) -> None:
        now_s = self._course.advance(size_bytes)
        if now_s - self._told_s >= _LINE_S:
            self._told_s = now_s
            self._tell(self._course.words())

    def finish(self) -> None:
        self._tell(self._course.closing_words())

    def _tell(self, line: str) -> None:
        is_wanted = os.environ.get("TFHUB_DOWNLOAD_PROGRESS") and sys.stderr is not None
        if is_wanted and not log.isEnabledFor(logging.INFO):
            sys.stderr.write(line + "\n")
        log.info(line)


class _NotebookLine:
    """One output that is rewritten at most four times a second, and stays in the saved notebook as its last line."""

    def __init__(self, course: _Course) -> None:
        from IPython.display import display

        self._course = course
        self._drawn_s = course.started_s
        show: Any = display
        self._handle = show(self._as_text(course.words()), raw=True, display_id=True)

    def advance(self, size_bytes: int) -> None:
        now_s = self._course.advance(size_bytes)
        if now_s - self._drawn_s >= _REDRAW_S:
            self._drawn_s = now_s
            self._draw(self._course.words())

    def finish(self) -> None:
        self._draw(self._course.closing_words())

    def _draw(self, line: str) -> None:
        if self._handle is not None:
            self._handle.update(self._as_text(line), raw=True)

    @staticmethod
    def _as_text(line: str) -> dict[str, str]:
        return {"text/plain": line}


class _TerminalLine:
    """A bar; downloads of other threads have theirs on the same board, since a terminal bears only one."""

    _lock = threading.Lock()
    _board: Progress | None = None
    _users = 0

    def __init__(self, label: str, total_bytes: int | None) -> None:
        with self._lock:
            if _TerminalLine._board is None:
                _TerminalLine._board = _new_board()
                _TerminalLine._board.start()
            _TerminalLine._users += 1
            self._progress = _TerminalLine._board
        self._task = self._progress.add_task(_shortened(label), total=total_bytes)

    def advance(self, size_bytes: int) -> None:
        self._progress.advance(self._task, size_bytes)

    def finish(self) -> None:
        with self._lock:
            self._progress.stop_task(self._task)
            _TerminalLine._users -= 1
            if not _TerminalLine._users:
                self._progress.stop()
                _TerminalLine._board = None


def _new_board() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    class _TimeLeft(TimeRemainingColumn):
        def render(self, task: Any) -> Any:
            return super().render(task) if (task.elapsed or 0) > _FIRST_ESTIMATE_S or task.finished else ""

    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%"),
        DownloadColumn(),
        TransferSpeedColumn(),
        _TimeLeft(compact=True),
        console=Console(stderr=True),
        speed_estimate_period=_RATE_S,
        refresh_per_second=10,
    )


def _shortened(label: str, width: int = 32) -> str:
    """Cut in the middle, for a terminal."""
    return label if len(label) <= width else f"{label[: width // 2 - 1]}…{label[-(width // 2) :]}"


def in_words(size_bytes: int) -> str:
    """A size for people: 1.4 kB, 54 MB."""
    size, units = float(size_bytes), iter(("B", "kB", "MB", "GB", "TB", "PB"))
    unit = next(units)
    while size >= 999.5:
        size, unit = size / 1000, next(units)
    return f"{size:.1f} {unit}" if unit != "B" and size < 9.95 else f"{size:.0f} {unit}"
