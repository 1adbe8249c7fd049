"""The limits of a call are also those of the search for operations before TensorFlow loads a model."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.fakes.archives import files_in, tar_gz
from tests.fakes.graphs import make_node
from tests.fakes.operations import Model
from tests.fakes.origin import Origin
from tfimm_resolver import resolve
from tfimm_resolver._util import clock
from tfimm_resolver.errors import CancelledError, ResolveTimeoutError
from tfimm_resolver.resolution.resolver import resolve_to_load


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model whose search takes a moment."""
    return str(Model(nodes=[make_node(f"n{number}", "Foo") for number in range(20_000)]).write(tmp_path / "model"))


@pytest.fixture
def url(model: str, origin: Origin) -> str:
    return origin.put("/m.tar.gz", tar_gz(files_in(model)))


def test_a_search_of_a_fetched_model_has_the_time_of_the_call(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OPS", "refuse")
    resolved, read_s = resolve_to_load(url, timeout_s=60), clock._read_monotonic
    monkeypatch.setattr(clock, "_read_monotonic", lambda: read_s() + 60)
    with pytest.raises(ResolveTimeoutError, match="searched for operations within 60 s"):
        resolved.check.run(resolved.path)


def test_a_cached_model_is_loaded_whatever_its_time_is(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OPS", "refuse")
    path = resolve(url)
    resolved = resolve_to_load(url, timeout_s=0)
    resolved.check.run(resolved.path)
    assert resolved.path == path


def test_a_cached_model_that_is_searched_at_resolve_is_returned_whatever_the_time_is(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = resolve(url)
    config = tmp_path / "config" / "tfimm_resolver" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('ops = { refuse = ["writes"], at = "resolve" }\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert resolve(url, timeout_s=0) == path


def test_a_search_ends_when_the_call_is_cancelled(model: str) -> None:
    stop = threading.Event()
    resolved = resolve_to_load(model, cancel=stop)
    stop.set()
    with pytest.raises(CancelledError, match="before it was searched"):
        resolved.check.run(resolved.path)


def test_a_search_without_limits_is_complete(model: str) -> None:
    resolved = resolve_to_load(model, timeout_s=600, cancel=threading.Event())
    resolved.check.run(resolved.path)
