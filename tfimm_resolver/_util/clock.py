"""The real clocks, for waits and for the ages of files, also while a test freezes those of the module ``time``.

freezegun replaces the functions of ``time`` in every module: a wait until a point in time would never end, and files would
seem to be of another year than they are. It does not replace ``clock_gettime``, nor what a partial holds.
"""

from __future__ import annotations

import functools
import time

_GRANULARITY_NS = 2 * 10**9
"""How far apart two time stamps may have to be to differ, on a file system such as FAT."""

if hasattr(time, "clock_gettime"):
    _read_monotonic = functools.partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    _read_ns = functools.partial(time.clock_gettime_ns, time.CLOCK_REALTIME)
else:  # Windows
    _read_monotonic, _read_ns = functools.partial(time.monotonic), functools.partial(time.time_ns)


def get_monotonic_s() -> float:
    """Return the seconds of a clock that nothing sets; only the difference of two values has a meaning."""
    return _read_monotonic()


def get_time_s() -> float:
    """Return the seconds since 1970, for comparisons with times of files."""
    return _read_ns() / 1e9


def get_time_ns() -> int:
    """Return the nanoseconds since 1970."""
    return _read_ns()


def is_settled(changed_ns: int) -> bool:
    """Whether a file with this time stamp gets another one if it changes: one changed a moment ago can keep it."""
    return get_time_ns() - changed_ns > _GRANULARITY_NS


def format_now() -> str:
    """Return the time now, as ``fetched_at`` holds it."""
    return format_time(get_time_s())


def format_time(seconds: float) -> str:
    """Return a time, given in seconds since 1970, as ``fetched_at`` holds it."""
    full_seconds, microseconds = divmod(round(seconds * 10**6), 10**6)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(full_seconds)) + f".{microseconds:06}Z"


def parse_time_s(text: str) -> float:
    """Return a time that ``format_time`` wrote, in seconds since 1970; raises ValueError for any other text."""
    from datetime import datetime  # 1 ms that hits do not pay

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def format_second(seconds: float) -> str | None:
    """Return the time of a file as ``--json`` shows it, without fractions; None for 0, a time that is not known."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else None
