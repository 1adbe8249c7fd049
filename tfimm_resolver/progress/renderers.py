"""How progress is shown: a bar on a terminal, one line in a notebook, plain lines elsewhere."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from typing import TYPE_CHECKING, Any

from tfimm_resolver._util.text import truncate_middle
from tfimm_resolver.progress.stats import TransferStats

if TYPE_CHECKING:
    from rich.progress import Progress

log = logging.getLogger("tfimm_resolver.progress")
_REDRAW_S = 0.25
_BAR_FROM_COLUMNS = 60
_FIGURES_COLUMNS = 60


class _Silent:
    def advance(self, size_bytes: int) -> None:
        pass

    def note(self, line: str) -> None:
        pass

    def finish(self, is_whole: bool) -> None:
        pass


class _Lines:
    """A line every few seconds and one at the end, to the log; to stderr where tensorflow_hub's variable asks for it."""

    def __init__(self, course: TransferStats) -> None:
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

    def __init__(self, course: TransferStats) -> None:
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

    def __init__(self, course: TransferStats) -> None:
        self._course = course
        self._columns = shutil.get_terminal_size().columns
        with self._lock:
            if _TerminalLine._board is None:
                _TerminalLine._board = _new_board(has_bar=self._columns >= _BAR_FROM_COLUMNS)
                _TerminalLine._board.start()
            _TerminalLine._users += 1
            self._progress = _TerminalLine._board
        label = truncate_middle(
            course.label, max(10, self._columns - (_FIGURES_COLUMNS if self._columns >= _BAR_FROM_COLUMNS else 26))
        )
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
