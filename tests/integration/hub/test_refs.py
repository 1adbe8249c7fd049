"""Tests of ``hub.refs``: refs and default branches, cached or asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes.git_host import GitHost
from tfimm_resolver.errors import OfflineError, UnknownRefError
from tfimm_resolver.hub import layout
from tfimm_resolver.hub.refs import resolve_ref
from tfimm_resolver.sources.github import Repository


def test_a_ref_that_is_not_cached_is_asked_for(host: GitHost) -> None:
    commit = host.repo("ada/models", {"hubconf.py": ""}, branch="trunk").git("rev-parse", "HEAD")
    cache, requested = layout.open_repositories(), Repository.parse("ada/models")
    default = resolve_ref(requested, cache, force_reload=False, skip_validation=False)
    assert default.repository == replace(requested, ref="trunk") and default.tip == default.default
    assert default.tip is not None and (default.tip.ref, default.tip.commit) == ("refs/heads/trunk", commit)
    named = resolve_ref(replace(requested, ref="trunk"), cache, force_reload=False, skip_validation=False)
    assert named.tip == default.tip and named.default is None
    with pytest.raises(UnknownRefError, match="Cannot find gone"):
        resolve_ref(replace(requested, ref="gone"), cache, force_reload=False, skip_validation=False)


def test_without_validation_any_ref_is_accepted_and_only_a_tip_has_the_name_of_its_branch(host: GitHost) -> None:
    tip_of_main = host.repo("ada/models", {"hubconf.py": ""}).git("rev-parse", "HEAD")
    cache, requested = layout.open_repositories(), Repository.parse("ada/models")
    expected = {
        "a" * 40: ("", "a" * 40),
        "refs/pull/1/head": ("", ""),
        "main": ("refs/heads/main", tip_of_main),
        tip_of_main: ("refs/heads/main", tip_of_main),
    }
    for ref, facts in expected.items():
        tip = resolve_ref(replace(requested, ref=ref), cache, force_reload=False, skip_validation=True).tip
        assert tip is not None and (tip.ref, tip.commit) == facts
    host.answers["info/refs"] = lambda _: (503, {}, b"")
    tip = resolve_ref(replace(requested, ref="main"), cache, force_reload=False, skip_validation=True).tip
    assert tip is not None and (tip.ref, tip.commit) == ("", ""), "the host does not list its refs"


def test_offline_a_ref_that_is_not_cached_is_an_error(host: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    with pytest.raises(OfflineError, match="TFIMM_RESOLVER_OFFLINE is set"):
        resolve_ref(Repository.parse("ada/models"), layout.open_repositories(), force_reload=False, skip_validation=False)
    with pytest.raises(OfflineError, match="TFIMM_RESOLVER_OFFLINE is set"):
        resolve_ref(
            Repository.parse(f"ada/models:{'a' * 40}"), layout.open_repositories(), force_reload=False, skip_validation=True
        )
    assert host.requests == []
