"""Events for programs that watch: what happens to a model, as dictionaries for callbacks and as JSON lines on stderr."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tfimm_resolver._util import clock
from tfimm_resolver._util.outgoing import clean_value, mask_secrets
from tfimm_resolver.errors import ResolverError

log = logging.getLogger("tfimm_resolver")

VARIABLE, JSON = "TFIMM_RESOLVER_PROGRESS", "json"
SCHEMA_VERSION = 1
"""Raised when a field changes its meaning or goes; new events and fields do not raise it."""

BYTES_INTERVAL_S = 0.5
"""Seconds between two events ``fetch.bytes`` of one download."""

Callback = Callable[[Mapping[str, Any]], object]

_callbacks: tuple[Callback, ...] = ()
_numbers = itertools.count(1)


class Subscription:
    """Events go to the callback until ``close``, or the end of a ``with`` block."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback

    def close(self) -> None:
        """Send no more events to the callback."""
        global _callbacks  # noqa: PLW0603
        _callbacks = tuple(other for other in _callbacks if other is not self._callback)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def on_event(callback: Callback) -> Subscription:
    """Call a function with each event, a mapping as on the reference page "Events", until the returned object is closed.

    It may be called from several threads at once, and has to be quick: the work waits for it. An exception that it raises is
    logged, and does not end the work, unless it is ``SystemExit`` or ``KeyboardInterrupt``, which end the call.

    Raises:
        TypeError: if it is not a function.

    Example:
        >>> names = []
        >>> with tfimm_resolver.on_event(lambda event: names.append(event["event"])):
        ...     path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> names[0], names[-1]
        ('resolve.start', 'done')
    """
    global _callbacks  # noqa: PLW0603
    if not callable(callback):
        raise TypeError(f"a callback has to be a function, not {type(callback).__name__}")
    wrapped = _OneCallback(callback)
    _callbacks = (*_callbacks, wrapped)
    return Subscription(wrapped)


class _OneCallback:
    """A callback of one subscription: the same function may be subscribed twice."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback

    def __call__(self, event: Mapping[str, Any]) -> object:
        return self._callback(event)


def prints_json() -> bool:
    """Whether events are printed on stderr, so that nothing else may be."""
    return os.environ.get(VARIABLE) == JSON


def is_active() -> bool:
    """Whether any program watches; quick, as each hit asks it."""
    return bool(_callbacks) or os.environ.get(VARIABLE) == JSON


class Operation:
    """The work for one handle, to which its events belong.

    Attributes:
        id: unique on this machine while the process lives.
        state: how the model is provided: ``cached``, ``fetched``, or ``unchanged`` after a refresh of the same model.
        fetched_bytes: what was received.
        path: the result; empty until it is known.
    """

    def __init__(self, handle: str) -> None:
        self.handle, self.id = handle, f"{os.getpid()}-{next(_numbers)}"
        self.state, self.path, self.fetched_bytes = "cached", "", 0
        self.started_s = clock.get_monotonic_s()


_current: contextvars.ContextVar[Operation | None] = contextvars.ContextVar("tfimm_resolver_operation", default=None)


def get_current_operation() -> Operation | None:
    """Return the operation of this thread, for events that another thread emits."""
    return _current.get()


@contextlib.contextmanager
def report_operation(handle: str) -> Iterator[Operation]:
    """Emit ``resolve.start``, and ``done`` or ``error`` at the end of the block; nothing within another operation."""
    outer = _current.get()
    if outer is not None:
        yield outer
        return
    operation = Operation(handle)
    before = _current.set(operation)
    try:
        emit("resolve.start")
        yield operation
    except BaseException as error:
        emit("error", **_describe_error(error), seconds=_get_seconds(operation))
        raise
    else:
        facts: dict[str, Any] = {"path": operation.path, "state": operation.state, "fetched_bytes": operation.fetched_bytes}
        emit("done", **facts, seconds=_get_seconds(operation))
    finally:
        _current.reset(before)


def set_state(state: str) -> None:
    """Note how the model of the current operation is provided."""
    operation = _current.get()
    if operation is not None:
        operation.state = state


def report_publication(path: str, size_bytes: int) -> None:
    """Emit ``publish``, and note that the model of the current operation was fetched."""
    set_state("fetched")
    emit("publish", path=path, size_bytes=size_bytes)


def report_wait(owner: str) -> bool:
    """Emit ``lock.wait`` for the owner of a lock, and return True."""
    emit("lock.wait", owner=owner)
    return True


def emit(name: str, operation: Operation | None = None, **facts: Any) -> None:
    """Send an event to every program that watches; ``operation`` is by default that of this thread."""
    if not is_active():
        return
    operation = operation or _current.get()
    about = {"id": operation.id, "handle": operation.handle} if operation else {"id": None, "handle": None}
    event = _mask_texts({"event": name, "version": SCHEMA_VERSION, "time": _format_now(), **about, **facts})
    for callback in _callbacks:
        try:
            callback(dict(event))
        except Exception as error:  # whatever a callback of others raises
            log.warning("a callback of on_event failed at %s: %s: %s", name, type(error).__name__, clean_value(str(error)))
    if prints_json():
        print_json(event)


def print_log(text: str, level: str = "info") -> None:
    """Print a message for a person as an event ``log``: stderr has one JSON object a line."""
    print_json(_mask_texts({"event": "log", "version": SCHEMA_VERSION, "time": _format_now(), "level": level, "text": text}))


def print_json(event: Mapping[str, Any]) -> None:
    """Print an event on stderr, as one line that no other thread can interrupt."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a full disk, a closed stream, or no stream
        sys.stderr.write(json.dumps(event) + "\n")
        sys.stderr.flush()


def _mask_texts(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event without secrets; a path stays as it is, since a program opens it."""
    return {name: mask_secrets(value) if isinstance(value, str) and name != "path" else value for name, value in event.items()}


def _describe_error(error: BaseException) -> dict[str, Any]:
    if isinstance(error, ResolverError):
        return {"code": error.code, "text": error.text, "fix": error.advice.command}
    return {"code": "internal", "text": f"{type(error).__name__}: {clean_value(str(error))}", "fix": ""}


def _get_seconds(operation: Operation) -> float:
    return round(clock.get_monotonic_s() - operation.started_s, 6)


def _format_now() -> str:
    seconds, milliseconds = divmod(round(clock.get_time_s() * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03}Z"


__all__ = ["Subscription", "emit", "is_active", "on_event", "report_operation"]
