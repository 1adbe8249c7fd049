"""A host with repositories, which is the configured one, and a directory of the hub for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.git_host import GitHost
from tfimm_resolver import hub


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHost]:
    """An empty host."""
    with GitHost(tmp_path / "host") as server:
        monkeypatch.setenv("TFIMM_GITHUB_URL", server.url)
        yield server


@pytest.fixture(autouse=True)
def hub_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where all of it is kept; not made yet."""
    monkeypatch.setenv("TFIMM_HUB_DIR", str(tmp_path / "hub"))
    yield tmp_path / "hub"
    hub.set_dir(None)
