"""One download in numbers: counts, rate, time left."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfimm_resolver._util.text import format_size

if TYPE_CHECKING:
    pass

_LINE_S = 5.0
_RATE_S = 5.0
_FIRST_ESTIMATE_S = 2.0


@dataclass(slots=True)
class TransferStats:
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
        total = f"/{format_size(self.total_bytes)}" if self.total_bytes else ""
        share = f"{min(100, 100 * self.done_bytes // self.total_bytes):3d}%  " if self.total_bytes else ""
        return f"{share}{format_size(self.done_bytes)}{total}{'' if is_short else self._pace()}"

    def _pace(self) -> str:
        if not self._recent or self._recent[-1][0] - self.started_s < _FIRST_ESTIMATE_S:
            return ""
        (from_s, from_bytes), (to_s, to_bytes) = self._recent[0], self._recent[-1]
        rate = (to_bytes - from_bytes) / max(to_s - from_s, 1e-9)
        left = f"  {max(0, self.total_bytes - self.done_bytes) / rate:.0f} s left" if self.total_bytes and rate else ""
        return f"  {format_size(int(rate))}/s{left}"

    def closing_words(self) -> str:
        earlier = f", {format_size(self.resumed_bytes)} of it earlier" if self.resumed_bytes else ""
        return f"{self.label}  {format_size(self.done_bytes)} in {time.monotonic() - self.started_s:.1f} s{earlier}"
