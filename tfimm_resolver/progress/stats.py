"""Counts, rate and remaining time of a download."""

from __future__ import annotations

import threading
from collections import deque

from tfimm_resolver._util import clock
from tfimm_resolver._util.outgoing import clean_value
from tfimm_resolver._util.text import format_duration, format_size

_LINE_INTERVAL_S = 5.0
_RATE_WINDOW_S = 5.0
_MIN_TIME_FOR_RATE_S = 2.0
_MIN_TIME_FOR_MEAN_S = 0.1


class TransferStats:
    """Counts and formats the progress of a download; its rate is that of the last five seconds, without resumed bytes.

    Attributes:
        resumed_bytes: what an earlier attempt received.
        done_bytes: what has been received, including ``resumed_bytes``.
        started_s: by ``clock.get_monotonic_s``.
        line_interval_s: how often a display without a moving line prints one.
        is_sum: whether it stands for several downloads; its result has the mean rate.
    """

    def __init__(
        self,
        label: str,
        total_bytes: int | None,
        resumed_bytes: int = 0,
        *,
        started_s: float | None = None,
        line_interval_s: float = _LINE_INTERVAL_S,
        is_sum: bool = False,
    ) -> None:
        self.label, self.total_bytes, self.resumed_bytes = clean_value(label), total_bytes, resumed_bytes
        self.done_bytes, self.line_interval_s, self.is_sum = resumed_bytes, line_interval_s, is_sum
        self.started_s = clock.get_monotonic_s() if started_s is None else started_s
        self._recent: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()  # a terminal is redrawn from a thread of its own

    def advance(self, size_bytes: int) -> float:
        """Count received bytes, and return the current time in seconds."""
        now_s = clock.get_monotonic_s()
        with self._lock:
            self.done_bytes += size_bytes
            self._recent.append((now_s, self.done_bytes))
            self._drop_old(now_s)
        return now_s

    def adjust(self, size_bytes: int) -> None:
        """Correct the count without changing the rate: for resumed bytes, or, if negative, those of a failed download."""
        with self._lock:
            self.done_bytes += size_bytes
            self._recent = deque((at_s, done_bytes + size_bytes) for at_s, done_bytes in self._recent)

    def format_line(self) -> str:
        """Format the current progress, with the label."""
        return f"{self.label}  {self.format_counts()}"

    def format_counts(self, *, is_short: bool = False) -> str:
        """Format the current progress; without rate and remaining time if ``is_short``."""
        total = f"/{format_size(self.total_bytes)}" if self.total_bytes else ""
        share = f"{min(100, 100 * self.done_bytes // self.total_bytes):3d}%  " if self.total_bytes else ""
        return f"{share}{format_size(self.done_bytes)}{total}{'' if is_short else self._format_rate()}"

    def get_share(self) -> float | None:
        """Return the part that is done, from 0 to 1; None if the total is not known."""
        return min(1.0, self.done_bytes / self.total_bytes) if self.total_bytes else None

    def format_result(self) -> str:
        """Format the result of a download that succeeded, without the label."""
        seconds, received_bytes = clock.get_monotonic_s() - self.started_s, self.done_bytes - self.resumed_bytes
        resumed = f", including {format_size(self.resumed_bytes)} resumed" if self.resumed_bytes else ""
        has_rate = self.is_sum and seconds >= _MIN_TIME_FOR_MEAN_S
        rate = f", {format_size(int(received_bytes / seconds))}/s" if has_rate else ""
        return f"{format_size(self.done_bytes)} in {seconds:.1f} s{rate}{resumed}"

    def format_summary(self) -> str:
        """Format the result of a download that succeeded."""
        return f"{self.label}  {self.format_result()}"

    def _drop_old(self, now_s: float) -> None:
        while len(self._recent) > 1 and now_s - self._recent[0][0] > _RATE_WINDOW_S:
            self._recent.popleft()

    def _format_rate(self) -> str:
        """Format the rate up to now, which falls if nothing arrives, and the remaining time, if anything is missing."""
        now_s = clock.get_monotonic_s()
        if not self._recent or self._recent[-1][0] - self.started_s < _MIN_TIME_FOR_RATE_S:
            return ""
        with self._lock:
            self._drop_old(now_s)
            (from_s, from_bytes), (_, to_bytes) = self._recent[0], self._recent[-1]
        rate = (to_bytes - from_bytes) / max(now_s - from_s, 1e-9)
        missing_bytes = (self.total_bytes or 0) - self.done_bytes
        left = f"  {format_duration(missing_bytes / rate)} left" if missing_bytes > 0 and rate >= 1 else ""
        return f"  {format_size(int(rate))}/s{left}"
