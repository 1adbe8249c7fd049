"""What happens when: drawn from a seed, so that the same seed gives the same schedule."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.soak.models import MODELS, VERSIONS

ACTIONS = {
    "resolve": 40,
    "refresh": 12,
    "prune": 10,
    "remove": 6,
    "verify": 4,
    "repair": 4,
    "damage": 4,
    "fork": 4,
    "keep": 2,
    "unkeep": 2,
    "interrupt": 6,
}
"""What a process does, and how often."""

_PROCESS_S, _PAUSE_S, _RELEASE_S = (0.5, 6.0), (0.0, 0.05), (0.2, 2.0)
_KILLED = 0.3


@dataclass(frozen=True)
class Step:
    """One action of a process, after a pause."""

    action: str
    model: int
    pause_s: float


@dataclass(frozen=True)
class Life:
    """One process: its steps, how long it lives, and whether it is killed then."""

    steps: tuple[Step, ...]
    lifetime_s: float
    is_killed: bool


@dataclass(frozen=True)
class Release:
    """Another version of a model is served from then on."""

    at_s: float
    model: int
    version: int


def make_lives(seed: int, slot: int, seconds: float) -> list[Life]:
    """Return the processes that follow each other in one slot."""
    chooser, passed_s, lives = random.Random(f"{seed} {slot}"), 0.0, []
    while passed_s < seconds:
        lifetime_s = chooser.uniform(*_PROCESS_S)
        actions = chooser.choices([*ACTIONS], [*ACTIONS.values()], k=400)
        steps = tuple(Step(action, chooser.randrange(MODELS), chooser.uniform(*_PAUSE_S)) for action in actions)
        lives.append(Life(steps, lifetime_s, chooser.random() < _KILLED))
        passed_s += lifetime_s
    return lives


def make_releases(seed: int, seconds: float) -> list[Release]:
    """Return which version is served when, in order."""
    chooser, at_s, releases = random.Random(f"{seed} releases"), 0.0, []
    while at_s < seconds:
        releases.append(Release(at_s, chooser.randrange(MODELS), chooser.randrange(VERSIONS)))
        at_s += chooser.uniform(*_RELEASE_S)
    return releases
