"""Approximate counts for each root: hits, misses, and the bytes that were fetched and evicted, by this user on this machine.

Everything is counted in memory. A miss or an eviction is written at once, but at most one in a second, the others with the
next one or when the process ends; so are hits, or every quarter of an hour. Of processes that end after a few hits, only some
write, each for many.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import random
import threading
from typing import NamedTuple

from tfimm_resolver import settings
from tfimm_resolver._util import clock, fs
from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver.locking import use_lock

_HITS_PER_WRITE = 16
_WRITE_INTERVAL_S = 900.0
"""Seconds after which a process that goes on using models writes its hits; a model is looked at again that often."""

_MISS_INTERVAL_S = 1.0
"""Seconds in which a process that fetches many small models writes once: a write takes a tenth as long as such a model."""

_BYTES_MAX = 10_000


class Counters(NamedTuple):
    """What was counted for a root.

    Attributes:
        hits: how often a model was found in it.
        misses: how often one was fetched into it.
        fetched_bytes: the size of what was fetched, as it was received.
        evicted_bytes: the size of the models that were evicted.
    """

    hits: int = 0
    misses: int = 0
    fetched_bytes: int = 0
    evicted_bytes: int = 0

    def add(self, other: Counters) -> Counters:
        """Return the sums of two counts."""
        return Counters(*(one + more for one, more in zip(self, other, strict=True)))


_lock = threading.Lock()
_counts: dict[str, Counters] = {}
"""What is not written yet, by root."""

_hits_due_s = _misses_due_s = 0.0
_is_registered = False


def read_counters(root: str) -> Counters:
    """Return what was counted for a root, given by its path or URL; zeros if nothing was, or it cannot be read."""
    try:
        facts = parse_json(fs.read_regular(_get_path(root), _BYTES_MAX).decode())
        values = [facts.get(name, 0) for name in Counters._fields]
    except (OSError, ValueError, AttributeError):
        return Counters()
    return Counters(*(value if isinstance(value, int) and 0 <= value < 1 << 63 else 0 for value in values))


def note_hit(path: str) -> None:
    """Count a hit on a model that this process did not use before; later ones count in its use lock."""
    global _hits_due_s  # noqa: PLW0603
    now_s = clock.get_monotonic_s()
    is_due = bool(_hits_due_s) and now_s > _hits_due_s
    if is_due or not _hits_due_s:
        _hits_due_s = now_s + _WRITE_INTERVAL_S
    _count(os.path.dirname(path), Counters(hits=1))
    if is_due:
        flush()


def add(root: str, *, misses: int = 0, fetched_bytes: int = 0, evicted_bytes: int = 0) -> None:
    """Add to the counts of a root, which are written now unless others were a moment ago; never an error."""
    global _misses_due_s  # noqa: PLW0603
    _count(root, Counters(0, misses, fetched_bytes, evicted_bytes))
    now_s = clock.get_monotonic_s()
    if now_s >= _misses_due_s:
        _misses_due_s = now_s + _MISS_INTERVAL_S
        flush()


def _count(root: str, more: Counters) -> None:
    with _lock:
        _counts[root] = _counts.get(root, Counters()).add(more)
    _register()


def _register() -> None:
    """Write what is left when the process ends."""
    global _is_registered  # noqa: PLW0603
    if not _is_registered:
        _is_registered = True
        atexit.register(_write_at_exit)


def flush() -> None:
    """Write what this process has counted so far."""
    for root, counts in _take_counts().items():
        _write(root, counts)


def _write_at_exit() -> None:
    for root, counts in _take_counts().items():
        if counts.hits >= _HITS_PER_WRITE or any(counts[1:]):
            _write(root, counts)
        elif random.randrange(_HITS_PER_WRITE) < counts.hits:  # of such processes one in sixteen writes, for all of them
            _write(root, Counters(_HITS_PER_WRITE))


def _take_counts() -> dict[str, Counters]:
    for tree, hits in use_lock.take_hits().items():
        _count(os.path.dirname(tree), Counters(hits))
    with _lock:
        counts = dict(_counts)
        _counts.clear()
    return counts


def _write(root: str, more: Counters) -> None:
    """Add to the file of a root. Of two processes that do so at the same moment, one may count for nothing."""
    with contextlib.suppress(OSError, ValueError):
        path, known = _get_path(root), read_counters(root)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        temp_path = f"{path}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
        try:
            with open(temp_path, "x", encoding="utf-8") as file:
                json.dump({"root": root, **known.add(more)._asdict()}, file)
            os.replace(temp_path, path)
        finally:
            fs.unlink(temp_path)


def _get_path(root: str) -> str:
    import hashlib  # takes 6 ms, not needed for a hit

    folder = settings.state_dir()
    if not folder:
        raise FileNotFoundError
    return f"{folder}/counters/{hashlib.sha256(root.encode('utf-8', 'surrogateescape')).hexdigest()[:24]}.json"


def _reset_in_child() -> None:
    """Let a forked child count only its own hits."""
    global _lock  # noqa: PLW0603  # another thread may have held it when the process was forked
    _lock = threading.Lock()
    _counts.clear()
    use_lock.take_hits()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)

__all__ = ["Counters", "add", "flush", "note_hit", "read_counters"]
