"""A measured figure as a row of the table: minimum, median, maximum, and whether the median meets its target."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

HEAD = f"{'case':<7} {'figure':<44} {'min':>10} {'median':>10} {'max':>10}  target"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one case, from all rounds; a target applies to the median."""

    case: str
    name: str
    unit: str
    values: Sequence[float]
    below: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None without a target."""
        median = statistics.median(self.values)
        if self.below is not None:
            return median < self.below
        if self.at_most is not None:
            return median <= self.at_most
        return median >= self.at_least if self.at_least is not None else None

    def line(self) -> str:
        """Return the row as text."""
        spread = (min(self.values), statistics.median(self.values), max(self.values))
        cells = " ".join(f"{self._number(value):>10}" for value in spread)
        return f"{self.case:<7} {self.name:<44} {cells}  {self._target()}".rstrip()

    def _target(self) -> str:
        if self.holds is None:
            return ""
        limits = (("<", self.below), ("<=", self.at_most), (">=", self.at_least))
        limit = next(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)
        return f"{limit} {self.unit}".rstrip() + (": holds" if self.holds else ": MISSED")

    def _number(self, value: float) -> str:
        digits = 0 if isinstance(value, int) or abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
        return f"{value:.{digits}f} {self.unit}"


def ratios(
    case: str, peer: Sequence[float], own: Sequence[float], *, name: str = "tensorflow_hub", at_least: float | None = None
) -> Row:
    """Return a row with the times of the peer divided by ours, round by round."""
    values = [other / own for other, own in zip(peer, own, strict=True)]
    return Row(case, f"{name} : tfimm_resolver", "x", values, at_least=at_least)


def amount(size_mb: float) -> str:
    """Return a size as text."""
    return f"{size_mb:g} MB" if size_mb >= 1 else f"{size_mb * 1e3:g} kB"
