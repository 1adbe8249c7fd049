"""Tests of ``resolution.mutable_refs``: follows a branch, and falls back to the cached model."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.fakes.archives import files_in
from tests.fakes.hugging_face import HuggingFace
from tfimm_resolver.errors import FetchError
from tfimm_resolver.resolution import rules
from tfimm_resolver.resolution.fetching import fetch, find_cached
from tfimm_resolver.resolution.mutable_refs import MutableHandle
from tfimm_resolver.resolution.request import Request, ResolvedPlan

FILES = {"saved_model.pb": b"a graph"}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFace]:
    """A fake of Hugging Face, set as HF_ENDPOINT."""
    with HuggingFace() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def plan(*, refresh: bool = False) -> ResolvedPlan:
    """Return the plan of a branch."""
    return rules.match_rule(Request.parse("hf://ada/models", refresh=refresh))


def test_a_branch_is_followed_and_its_last_commit_serves_if_upstream_fails(
    host: HuggingFace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    host.push("ada/models", FILES)
    assert MutableHandle(plan()).find_cached(find_cached) is None
    first = MutableHandle(plan()).fetch(fetch)
    host.push("ada/models", {"saved_model.pb": b"another"})
    second = MutableHandle(plan()).fetch(fetch)
    assert files_in(first.path) == FILES and files_in(second.path) == {"saved_model.pb": b"another"}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with caplog.at_level(logging.WARNING):
        assert MutableHandle(plan()).fetch(fetch).path == second.path
    assert "is served from the cache" in caplog.text
    cached = MutableHandle(plan()).find_cached(find_cached)
    assert cached is not None and cached.path == second.path
    with pytest.raises(FetchError):
        MutableHandle(plan(refresh=True)).fetch(fetch)
