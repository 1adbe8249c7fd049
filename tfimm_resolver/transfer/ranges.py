"""One range of a download."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Range:
    """A range that is being downloaded; ``done_bytes`` of it are on disk."""

    start: int
    size_bytes: int
    done_bytes: int

    @property
    def is_done(self) -> bool:
        """Whether all of it is on disk."""
        return self.done_bytes >= self.size_bytes
