"""Progress displays: a bar on a terminal, one line in a notebook, log lines elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from tfimm_resolver._util.outgoing import clean_value
from tfimm_resolver._util.terminal import is_terminal
from tfimm_resolver.progress import terminal_lines
from tfimm_resolver.progress.stats import TransferStats

if TYPE_CHECKING:
    from rich.progress import Progress

log = logging.getLogger("tfimm_resolver.progress")
_REDRAW_INTERVAL_S = 0.25


class SilentDisplay:
    """Shows nothing."""

    replaces_line = False

    def advance(self, size_bytes: int) -> None:
        pass

    def print_finished(self, stats: TransferStats) -> None:
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
            self._print(self._stats.format_line())

    def print_finished(self, stats: TransferStats) -> None:
        """Log the line of one of several downloads."""
        self._print(stats.format_summary())

    def finish(self, succeeded: bool) -> None:
        if succeeded:
            self._print(self._stats.format_summary())

    def _print(self, line: str) -> None:
        is_requested = os.environ.get("TFHUB_DOWNLOAD_PROGRESS") and sys.stderr is not None
        if is_requested and not log.isEnabledFor(logging.INFO):
            sys.stderr.write(clean_value(line) + "\n")
        log.info("%s", line)


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

    def print_finished(self, stats: TransferStats) -> None:
        self._lines_above.append(stats.format_summary())
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
    """A bar while a download runs, and a line that stays once it is complete.

    Downloads of several threads share one rich display, since a terminal supports only one.
    """

    replaces_line = False
    _lock = threading.Lock()
    _shared_display: Progress | None = None
    _users = 0

    def __init__(self, stats: TransferStats) -> None:
        self._stats = stats
        with self._lock:
            if TerminalDisplay._shared_display is None:
                TerminalDisplay._shared_display = _make_rich_display()
                TerminalDisplay._shared_display.start()
            TerminalDisplay._users += 1
            self._progress = TerminalDisplay._shared_display
        self._task = self._progress.add_task(stats.label, total=None, stats=stats)

    def advance(self, size_bytes: int) -> None:
        self._stats.advance(size_bytes)  # the display is redrawn ten times a second

    def print_finished(self, stats: TransferStats) -> None:
        """Print the line of a complete download above the bar, where it stays."""
        console = self._progress.console
        line = terminal_lines.fit(stats.label, stats.format_result(), console.width)
        self._progress.refresh()  # what is printed is followed by the last frame once more
        console.print(line, markup=False, highlight=False, no_wrap=True, overflow="crop")

    def finish(self, succeeded: bool) -> None:
        self._progress.remove_task(self._task)
        if succeeded:
            self.print_finished(self._stats)
        with self._lock:
            TerminalDisplay._users -= 1
            if not TerminalDisplay._users:
                self._progress.stop()
                TerminalDisplay._shared_display = None


def _make_rich_display() -> Progress:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

    class LineColumn(ProgressColumn):
        """The line of one download, as wide as the terminal is at that moment."""

        def render(self, task: Task) -> Text:
            line = terminal_lines.make_line(task.fields["stats"], console.width, is_ascii=is_ascii)
            colours = ("", "") if console.no_color else ("progress.percentage", "dim")  # rich would keep the latter
            styled = [(line.before, ""), (line.done, colours[0]), (line.missing, colours[1]), (line.after, "")]
            return Text.assemble(*styled, no_wrap=True, overflow="crop")

    console = Console(stderr=True)
    is_ascii = not console.encoding.lower().startswith("utf")
    # What a program prints on a stdout that is not a terminal must not become a part of the display, which is on stderr.
    return Progress(LineColumn(), console=console, transient=True, redirect_stdout=is_terminal(sys.stdout))
