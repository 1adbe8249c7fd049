"""Fixtures: a model, a bundle of it, and another machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.origin import Origin
from tfimm_resolver.bundles import writer


@pytest.fixture
def handle(origin: Origin) -> str:
    """A model that can be fetched."""
    return origin.put_model("/google/model/1", tar_gz())


@pytest.fixture
def bundle(handle: str, tmp_path: Path) -> Path:
    """A bundle of it."""
    writer.write([handle], tmp_path / "b.tar")
    return tmp_path / "b.tar"


@pytest.fixture
def far(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache root that does not exist yet, on another machine without network."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "far"))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    return tmp_path / "far"
