"""The scenarios by name."""

from __future__ import annotations

from collections.abc import Callable

from tests.golden.stage import Stage

Scenario = Callable[[Stage], None]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    """Register a scenario under the name of its function.

    Raises:
        ValueError: if another one has the name.
    """
    name = function.__name__
    if name in SCENARIOS:
        raise ValueError(f"two scenarios are called {name}")
    SCENARIOS[name] = function
    return function
