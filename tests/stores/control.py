"""What a test has in hand of a store: the log of its operations, latency, gates, and faults by the n-th match."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

MOST_S = 60


@dataclass
class Operation:
    """One request, and what became of it; ``status`` is 0 until it is answered, and if the answer was lost."""

    kind: str
    method: str
    bucket: str
    name: str
    received_bytes: int
    headers: dict[str, str] = field(repr=False)
    status: int = 0
    sent_bytes: int = 0
    at_s: float = field(default_factory=time.monotonic)
    took_s: float = 0.0

    @property
    def authorization(self) -> str | None:
        """The credentials that came along."""
        return self.headers.get("authorization")


class ResetError(Exception):
    """The connection ends here by a RST, and no answer goes out."""


class Gate:
    """Where an operation waits: ``reached`` tells that one does, ``go`` lets all pass."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def wait(self) -> None:
        """Wait until told, though not for ever."""
        self.reached.set()
        self.go.wait(MOST_S)


Step = Callable[[], None]


@dataclass
class Rule:
    """What befalls the matches ``nth`` to ``nth + times - 1`` of operations; of all from ``nth`` on if times is None."""

    kind: str
    name: str
    nth: int
    times: int | None
    seen: int = 0
    before: Step | None = None
    after: Step | None = None
    status: int = 0
    gate: Gate | None = None

    def answer(self, status: int) -> Rule:
        """Answer with that status; nothing is done."""
        self.status = status
        return self

    def reset(self) -> Rule:
        """End the connection; nothing is done."""
        self.before = _reset
        return self

    def lose(self) -> Rule:
        """Do it, and end the connection without an answer."""
        self.after = _reset
        return self

    def hold(self, *, undone: bool = False) -> Gate:
        """Do it, and hold the answer back until told; with ``undone``, hold back what is to be done, too."""
        self.gate = Gate()
        if undone:
            self.before = self.gate.wait
        else:
            self.after = self.gate.wait
        return self.gate

    def is_due(self, operation: Operation) -> bool:
        """Whether this operation is one of the matches; counts it if it matches."""
        if not fnmatchcase(operation.kind, self.kind) or not fnmatchcase(operation.name, self.name):
            return False
        self.seen += 1
        return self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)


def _reset() -> None:
    raise ResetError


class Control:
    """The log and the rules of one store; many threads may use them."""

    def __init__(self) -> None:
        self.log: list[Operation] = []
        self.latency_s = 0.0
        self.handshake_s = 0.0
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def on(self, kind: str = "*", name: str = "*", *, nth: int = 1, times: int | None = 1) -> Rule:
        """A rule for operations of a kind on objects of a name, both shell patterns; its methods say what it does."""
        rule = Rule(kind, name, nth, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def note(self, operation: Operation) -> list[Rule]:
        """Put an operation in the log; returns the rules that it meets."""
        with self._lock:
            self.log.append(operation)
            return [rule for rule in self._rules if rule.is_due(operation)]

    def asked(self, kind: str = "*", name: str = "*") -> list[Operation]:
        """What was asked so far, of a kind and a name."""
        with self._lock:
            log = list(self.log)
        return [operation for operation in log if fnmatchcase(operation.kind, kind) and fnmatchcase(operation.name, name)]

    def release(self) -> None:
        """Drop all rules, and open their gates."""
        with self._lock:
            rules, self._rules = self._rules, []
        for rule in rules:
            if rule.gate:
                rule.gate.go.set()

    def forget(self) -> None:
        """Begin anew: an empty log, no rules, no latency, of operations or of connections."""
        self.release()
        with self._lock:
            self.log, self.latency_s, self.handshake_s = [], 0.0, 0.0
