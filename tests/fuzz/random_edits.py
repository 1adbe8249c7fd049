"""Runs one target with hypothesis, which shortens an input that fails; where atheris is not available."""

from __future__ import annotations

import time
from typing import Any

import hypothesis
from hypothesis import strategies

from tests.fuzz.driver import TARGETS, private_environment
from tests.fuzz.target import ViolationError, check

_EXAMPLES = 100
_LENGTHS = (0, 1, 2, 4, 8, 64, 1 << 20)


@strategies.composite
def edit_seeds(draw: Any, seeds: list[bytes], tokens: tuple[bytes, ...]) -> bytes:
    """Return a seed in which some ranges are replaced, by tokens or by any bytes."""
    data = bytearray(draw(strategies.sampled_from(seeds)))
    replacements = strategies.binary(max_size=20)
    if tokens:
        replacements |= strategies.sampled_from(tokens)
    for _ in range(draw(strategies.integers(0, 6))):
        at = draw(strategies.integers(0, len(data)))
        data[at : at + draw(strategies.sampled_from(_LENGTHS))] = draw(replacements)
    return bytes(data)


def run(name: str, seconds: float, seed: int) -> tuple[str, list[str]]:
    """Fuzz a target for a time; return how many inputs it read, and the violation, if there is one, with its input."""
    target, end_s, count = TARGETS[name], time.monotonic() + seconds, 0

    def read(data: bytes) -> None:
        nonlocal count
        if time.monotonic() < end_s:
            count += 1
            check(target, data)

    with private_environment():
        while time.monotonic() < end_s:
            options = hypothesis.settings(
                max_examples=_EXAMPLES, database=None, deadline=None, suppress_health_check=[*hypothesis.HealthCheck]
            )
            decorate = hypothesis.given(edit_seeds(target.make_seeds(), target.tokens))
            try:
                hypothesis.seed(seed)(options(decorate(read)))()
            except ViolationError as error:
                return f"{count} cases", [f"{error} {getattr(error, '__notes__', '')}"]
            seed += 1
    return f"{count} cases", []
