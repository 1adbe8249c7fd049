"""Tests of ``cache.hub_stores``: the caches of the hub, and the names of entries in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfimm_resolver.cache import hub_stores
from tfimm_resolver.errors import CacheError


def name_entry(handle: str) -> str:
    """Return the name of a repository's directory."""
    return hub_stores.open_repositories().entry_name(handle)


def test_plain_names_are_those_of_torch_hub_and_others_have_a_hash() -> None:
    assert name_entry("github://github.com/ada/models:main") == "ada_models_main"
    names = [
        name_entry(f"github://{text}")
        for text in ("github.com/a_b/c:main", "github.com/a/b_c:main", "host.example/a/b:main", "github.com/a/b:V1")
    ]
    assert len(set(names)) == 4 and all("." not in name and name[-13] == "-" for name in names)


def test_a_plain_name_cannot_look_like_one_with_a_hash() -> None:
    name = name_entry("github://github.com/ada/models:main-0123456789ab")
    assert name != "ada_models_main-0123456789ab" and len(name_entry(f"github://github.com/ada/models:{'x' * 300}")) < 200


def test_weights_of_different_urls_have_different_names(tmp_path: Path) -> None:
    cache = hub_stores.open_weights(tmp_path)
    first, second = cache.entry_name("w.h5 https://a/w.h5"), cache.entry_name("w.h5 https://b/w.h5")
    assert first != second and first.startswith("w-h5-") and second.startswith("w-h5-")


def test_code_does_not_come_from_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_HUB_DIR", "gs://bucket/hub")
    for open_cache in (hub_stores.open_repositories, lambda: hub_stores.open_weights(None)):
        with pytest.raises(CacheError, match="cannot run code from a bucket"):
            open_cache()


def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_HUB_DIR", str(tmp_path / "hub"))
    (tmp_path / "hub").mkdir()
    hub_stores.open_repositories()
    (tmp_path / "hub").chmod(0o777)
    with pytest.raises(CacheError, match="hub"):
        hub_stores.open_repositories()
