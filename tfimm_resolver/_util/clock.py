"""The real clocks, for waits and for the ages of files, also while a test freezes those of the module ``time``.

freezegun replaces the functions of ``time`` in every module, so that a wait that ends at a point in time would never end, and
files would seem to be of another year than they are. It does not replace ``clock_gettime``, nor what a partial holds.
"""

from __future__ import annotations

import functools
import time

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


def format_now() -> str:
    """Return the time now, as ``fetched_at`` holds it."""
    return format_time(get_time_s())


def format_time(seconds: float) -> str:
    """Return a time, given in seconds since 1970, as ``fetched_at`` holds it."""
    full_seconds, microseconds = divmod(round(seconds * 10**6), 10**6)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(full_seconds)) + f".{microseconds:06}Z"
