"""A git host, set as TFIMM_GITHUB_URL, and a hub directory for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.git_host import GitHost
from tfimm_resolver import hub


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHost]:
    """A git host without repositories."""
    with GitHost(tmp_path / "host") as server:
        monkeypatch.setenv("TFIMM_GITHUB_URL", server.url)
        yield server


@pytest.fixture(autouse=True)
def hub_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The hub directory, which does not exist yet."""
    monkeypatch.setenv("TFIMM_HUB_DIR", str(tmp_path / "hub"))
    yield tmp_path / "hub"
    hub.set_dir(None)
