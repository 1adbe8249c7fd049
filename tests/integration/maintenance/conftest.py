"""A cached model, and a cache that holds one of everything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.full_cache import FullCache, fill_cache
from tests.fakes.git_host import GitHost
from tests.fakes.origin import Origin
from tfimm_resolver import resolve


@pytest.fixture
def handle(origin: Origin) -> str:
    """The handle of a model that is cached."""
    url = origin.put("/m.tgz", tar_gz())
    resolve(url)
    return url


@pytest.fixture
def full(origin: Origin, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FullCache]:
    """Models, a repository and weights of the hub, a replaced copy and a partial download; nothing is in use."""
    monkeypatch.setenv("TFIMM_HUB_DIR", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with GitHost(tmp_path / "host") as host:
        monkeypatch.setenv("TFIMM_GITHUB_URL", host.url)
        yield fill_cache(origin, host, cache_dir)
