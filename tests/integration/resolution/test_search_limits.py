"""The limits of a call are also those of the search for operations before TensorFlow loads a model."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.fakes.graphs import make_node
from tests.fakes.operations import Model
from tfimm_resolver.errors import CancelledError, ResolveTimeoutError
from tfimm_resolver.resolution.resolver import resolve_to_load


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model whose search takes a moment."""
    return str(Model(nodes=[make_node(f"n{number}", "Foo") for number in range(20_000)]).write(tmp_path / "model"))


def test_a_search_has_the_time_of_the_call(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OPS", "refuse")
    resolved = resolve_to_load(model, timeout_s=0)
    with pytest.raises(ResolveTimeoutError, match="searched for operations within 0 s"):
        resolved.check.run(resolved.path)


def test_a_search_ends_when_the_call_is_cancelled(model: str) -> None:
    stop = threading.Event()
    resolved = resolve_to_load(model, cancel=stop)
    stop.set()
    with pytest.raises(CancelledError, match="before it was searched"):
        resolved.check.run(resolved.path)


def test_a_search_without_limits_is_complete(model: str) -> None:
    resolved = resolve_to_load(model, timeout_s=600, cancel=threading.Event())
    resolved.check.run(resolved.path)
