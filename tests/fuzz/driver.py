"""Runs targets with random inputs: all targets in turn, from fixed seeds, or for a time."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.fuzz import answers, archives, graphs, saved_models, signatures, texts, weights
from tests.fuzz.mutation import mutate
from tests.fuzz.target import Target, ViolationError, check

_MODULES = (archives, texts, answers, weights, signatures, saved_models, graphs)
TARGETS = {target.name: target for module in _MODULES for target in module.TARGETS}


@dataclass
class Report:
    """Counts of the outcomes of one target, and the violations."""

    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


@contextlib.contextmanager
def private_environment() -> Iterator[None]:
    """Restore the variables that targets set, and let nothing reach the network."""
    before = dict(os.environ)
    os.environ.update(TFIMM_RESOLVER_OFFLINE="1", TFIMM_RESOLVER_RETRIES="0", TFIMM_RESOLVER_PROGRESS="off")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run(target: Target, seed: int, *, cases: int = 0, seconds: float = 0) -> Report:
    """Run cases from a seed on, until the time is up or ``cases`` have run."""
    report, seeds, end_s, number = Report(), target.make_seeds(), time.monotonic() + seconds, 0
    with private_environment():
        while number < cases if cases else time.monotonic() < end_s:
            data = mutate(seed + number, seeds, target.tokens)
            try:
                report.outcomes[check(target, data)] += 1
            except ViolationError as error:
                report.outcomes["violated"] += 1
                report.violations.append(f"{target.name} --seed {seed + number} --cases 1: {error}")
            number += 1
    return report
