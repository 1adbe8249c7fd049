"""Tests of ``resolution.mutable_refs``: follows a branch, and falls back to the cached model."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import files_in, tar_gz
from tests.fakes.hugging_face import HuggingFace
from tests.fakes.origin import Origin
from tfimm_resolver import resolve
from tfimm_resolver.errors import FetchError, OfflineError
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


@pytest.mark.parametrize("is_extra_root", [False, True], ids=["own", "extra root"])
def test_a_damaged_copy_is_reported_with_what_is_missing_and_where(
    is_extra_root: bool, host: HuggingFace, monkeypatch: pytest.MonkeyPatch, cache_dir: Path, tmp_path: Path
) -> None:
    host.push("ada/other", FILES)
    host.push("ada/models", FILES)
    Path(resolve("hf://ada/other"), "saved_model.pb").unlink()
    path = Path(resolve("hf://ada/models"))
    if is_extra_root:
        path = tmp_path / "extra" / path.name
        cache_dir.rename(tmp_path / "extra")
        monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "extra"))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    with pytest.raises(OfflineError) as caught:
        resolve("hf://ada/models", refresh=True)
    assert "is damaged" not in caught.value.text
    (path / "saved_model.pb").unlink()
    with pytest.raises(OfflineError) as caught:
        resolve("hf://ada/models")
    assert str(path) in caught.value.text and "is damaged (saved_model.pb is missing) and hf://" in caught.value.text
    assert "set_model_cache" in caught.value.fix
    with pytest.raises(OfflineError) as caught:
        resolve("hf://ada/nothing")
    assert "is damaged" not in caught.value.text


def test_the_newest_damaged_version_is_reported_for_a_handle_without_a_version(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_KAGGLE_URL", origin.url)
    for version in (9, 10):
        origin.put(f"/api/v1/models/o/m/tensorFlow2/v/{version}/download", tar_gz())
        Path(resolve(f"kaggle://o/m/tensorFlow2/v/{version}"), "variables", "variables.index").unlink()
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    with pytest.raises(OfflineError, match=r"tensorFlow2/v/10 in .* is damaged \(variables/variables\.index is missing\) and"):
        resolve("kaggle://o/m/tensorFlow2/v")
    with pytest.raises(OfflineError, match=r"damaged \(variables/variables\.index is missing\) and") as caught:
        resolve("kaggle://o/m/tensorFlow2/v/10")
    assert caught.value.text.count("is damaged") == 1


def test_a_copy_that_cannot_be_fetched_again_is_reported_damaged_once(host: HuggingFace) -> None:
    commit = host.push("ada/models", FILES)
    Path(resolve("hf://ada/models"), "saved_model.pb").unlink()
    host.repositories["ada/models"].commits[commit].clear()
    with pytest.raises(FetchError) as caught:
        resolve("hf://ada/models")
    assert caught.value.text.count("is damaged") == 1
