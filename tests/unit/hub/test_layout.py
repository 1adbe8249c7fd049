"""Tests of ``hub.layout``: which directory is that of the hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfimm_resolver import settings
from tfimm_resolver.hub import layout


def test_the_directory_is_that_of_set_dir_then_the_variable_then_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert layout.get_dir() == f"{settings.get_dir()}/.hub"
    monkeypatch.setenv("TFIMM_HUB_DIR", str(tmp_path / "variable"))
    assert (settings.hub_root().value, settings.hub_root().source) == (f"{tmp_path}/variable", "$TFIMM_HUB_DIR")
    layout.set_dir(tmp_path / "set")
    try:
        assert (settings.hub_root().value, settings.hub_root().source) == (f"{tmp_path}/set", "hub.set_dir()")
    finally:
        layout.set_dir(None)
    assert layout.get_dir() == f"{tmp_path}/variable"
