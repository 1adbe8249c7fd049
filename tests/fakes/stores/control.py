"""How a test controls a fake store: the log of its operations, latency, gates, and faults for the n-th match."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

TIMEOUT_S = 60


@dataclass
class Operation:
    """One request and its outcome; ``status`` is 0 until it is answered, and stays 0 if the response is lost."""

    kind: str
    method: str
    bucket: str
    name: str
    received_bytes: int
    headers: dict[str, str] = field(repr=False)
    status: int = 0
    sent_bytes: int = 0
    at_s: float = field(default_factory=time.monotonic)
    duration_s: float = 0.0

    @property
    def authorization(self) -> str | None:
        """The credentials of the request."""
        return self.headers.get("authorization")


class ResetError(Exception):
    """Resets the connection (RST) without a response."""


class Gate:
    """Blocks operations: ``reached`` is set once one waits, setting ``go`` lets all pass."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def wait(self) -> None:
        """Wait for ``go``, though not for ever."""
        self.reached.set()
        self.go.wait(TIMEOUT_S)

    def wait_until_reached(self) -> None:
        """Wait until an operation waits, though not for ever."""
        self.reached.wait(TIMEOUT_S)


Hook = Callable[[], None]


@dataclass
class Rule:
    """A fault for the matching operations ``nth`` to ``nth + times - 1``, or from ``nth`` on if ``times`` is None."""

    kind: str
    name: str
    nth: int
    times: int | None
    seen: int = 0
    before: Hook | None = None
    after: Hook | None = None
    status: int = 0
    gate: Gate | None = None

    def answer(self, status: int, *, after: Gate | None = None) -> Rule:
        """Respond with that status without executing the operation; with ``after``, once an operation waits at that gate."""
        self.status = status
        if after:
            self.before = after.wait_until_reached
        return self

    def reset(self) -> Rule:
        """Reset the connection without executing the operation."""
        self.before = _reset
        return self

    def lose(self) -> Rule:
        """Execute the operation, and reset the connection instead of responding."""
        self.after = _reset
        return self

    def hold(self, *, undone: bool = False) -> Gate:
        """Execute the operation and hold the response at a gate; with ``undone``, hold the execution, too."""
        self.gate = Gate()
        if undone:
            self.before = self.gate.wait
        else:
            self.after = self.gate.wait
        return self.gate

    def match_and_count(self, operation: Operation) -> bool:
        """Return whether the rule applies to this operation, and count it if it matches."""
        if not fnmatchcase(operation.kind, self.kind) or not fnmatchcase(operation.name, self.name):
            return False
        self.seen += 1
        return self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)


def _reset() -> None:
    raise ResetError


class Control:
    """The log and the rules of one store; thread-safe."""

    def __init__(self) -> None:
        self.log: list[Operation] = []
        self.latency_s = 0.0
        self.handshake_s = 0.0
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def on(self, kind: str = "*", name: str = "*", *, nth: int = 1, times: int | None = 1) -> Rule:
        """Add and return a rule for operations by kind and object name, both shell patterns; its methods set the fault."""
        rule = Rule(kind, name, nth, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def note(self, operation: Operation) -> list[Rule]:
        """Log an operation; return the rules that apply to it."""
        with self._lock:
            self.log.append(operation)
            return [rule for rule in self._rules if rule.match_and_count(operation)]

    def find_operations(self, kind: str = "*", name: str = "*") -> list[Operation]:
        """Return the operations so far by kind and object name, both shell patterns."""
        with self._lock:
            log = list(self.log)
        return [operation for operation in log if fnmatchcase(operation.kind, kind) and fnmatchcase(operation.name, name)]

    def release(self) -> None:
        """Remove all rules and open their gates."""
        with self._lock:
            rules, self._rules = self._rules, []
        for rule in rules:
            if rule.gate:
                rule.gate.go.set()

    def forget(self) -> None:
        """Start over: an empty log, no rules, no latency of operations or connections."""
        self.release()
        with self._lock:
            self.log, self.latency_s, self.handshake_s = [], 0.0, 0.0
