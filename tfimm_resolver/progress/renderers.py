"""Progress displays: a bar on a terminal, one line in a notebook, log lines elsewhere."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from typing import TYPE_CHECKING, Any

from tfimm_resolver._util.outgoing import clean_value
from tfimm_resolver._util.text import truncate_middle
from tfimm_resolver.progress.stats import TransferStats

if TYPE_CHECKING:
    from rich.progress import Progress

log = logging.getLogger("tfimm_resolver.progress")
_REDRAW_INTERVAL_S = 0.25
_BAR_MIN_COLUMNS = 60
_COUNTS_COLUMNS, _SHORT_COUNTS_COLUMNS, _LABEL_MIN_COLUMNS = 60, 26, 10


class SilentDisplay:
    """Shows nothing."""

    replaces_line = False

    def advance(self, size_bytes: int) -> None:
        pass

    def print_above(self, line: str) -> None:
        pass

    def finish(self, succeeded: bool) -> None:
        pass


class LogDisplay:
    """Logs a line every few seconds and one at the end; also to stderr if TFHUB_DOWNLOAD_PROGRESS of tensorflow_hub is set."""

    replaces_line = False

    def __init__(self, stats: TransferStats) -> None:
        self._stats = stats
        self._last_line_s = stats.started_s

    def advance(self, size_bytes: int) -> None:
        now_s = self._stats.advance(size_bytes)
        if now_s - self._last_line_s >= self._stats.line_interval_s:
            self._last_line_s = now_s
            self.print_above(self._stats.format_line())

    def print_above(self, line: str) -> None:
        """Log a line; here nothing moves below it."""
        is_requested = os.environ.get("TFHUB_DOWNLOAD_PROGRESS") and sys.stderr is not None
        if is_requested and not log.isEnabledFor(logging.INFO):
            sys.stderr.write(clean_value(line) + "\n")
        log.info("%s", line)

    def finish(self, succeeded: bool) -> None:
        if succeeded:
            self.print_above(self._stats.format_summary())


class NotebookDisplay:
    """One output that is rewritten at most four times a second; the saved notebook keeps its last state."""

    replaces_line = True

    def __init__(self, stats: TransferStats) -> None:
        from IPython.display import display

        self._stats = stats
        self._last_draw_s = stats.started_s
        self._lines_above: list[str] = []
        show: Any = display
        self._handle = show(self._make_bundle(stats.format_line()), raw=True, display_id=True)

    def advance(self, size_bytes: int) -> None:
        now_s = self._stats.advance(size_bytes)
        if now_s - self._last_draw_s >= _REDRAW_INTERVAL_S:
            self._last_draw_s = now_s
            self._draw(self._stats.format_line())

    def print_above(self, line: str) -> None:
        self._lines_above.append(line)
        self._draw(self._stats.format_line())

    def finish(self, succeeded: bool) -> None:
        self._draw(self._stats.format_summary() if succeeded else self._stats.format_line())

    def _draw(self, line: str) -> None:
        if self._handle is not None:
            self._handle.update(self._make_bundle(line), raw=True)

    def _make_bundle(self, line: str) -> dict[str, str]:
        """Return the MIME bundle that IPython displays."""
        return {"text/plain": "\n".join(map(clean_value, [*self._lines_above, line]))}


class TerminalDisplay:
    """A bar. Downloads of several threads share one rich display, since a terminal supports only one."""

    replaces_line = False
    _lock = threading.Lock()
    _shared_display: Progress | None = None
    _users = 0

    def __init__(self, stats: TransferStats) -> None:
        self._stats = stats
        columns = shutil.get_terminal_size().columns
        self._has_bar = columns >= _BAR_MIN_COLUMNS
        with self._lock:
            if TerminalDisplay._shared_display is None:
                TerminalDisplay._shared_display = _make_rich_display(has_bar=self._has_bar)
                TerminalDisplay._shared_display.start()
            TerminalDisplay._users += 1
            self._progress = TerminalDisplay._shared_display
        label_columns = columns - (_COUNTS_COLUMNS if self._has_bar else _SHORT_COUNTS_COLUMNS)
        self._task = self._progress.add_task(
            truncate_middle(stats.label, max(_LABEL_MIN_COLUMNS, label_columns)),
            total=stats.total_bytes,
            completed=stats.done_bytes,
            counts=self._format_counts(),
        )

    def advance(self, size_bytes: int) -> None:
        self._stats.advance(size_bytes)
        self._progress.update(self._task, completed=self._stats.done_bytes, counts=self._format_counts())

    def print_above(self, line: str) -> None:
        self._progress.console.print(f"  {clean_value(line)}", markup=False, highlight=False, soft_wrap=True)

    def finish(self, succeeded: bool) -> None:
        with self._lock:
            self._progress.stop_task(self._task)
            TerminalDisplay._users -= 1
            if not TerminalDisplay._users:
                self._progress.stop()
                TerminalDisplay._shared_display = None

    def _format_counts(self) -> str:
        return self._stats.format_counts(is_short=not self._has_bar)


def _make_rich_display(*, has_bar: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn

    bar: list[ProgressColumn] = [BarColumn(bar_width=12)] if has_bar else []
    label, counts = "  {task.description}", "{task.fields[counts]}"
    columns = (TextColumn(label, markup=False), *bar, TextColumn(counts, markup=False))
    return Progress(*columns, console=Console(stderr=True))
