"""Tests of ``hub.size_budget``: what a file unpacks to is limited by its size, as with archives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfimm_resolver.archives import budget
from tfimm_resolver.errors import WeightsError
from tfimm_resolver.hub import size_budget


def test_the_ratio_counts_beyond_a_size_that_is_always_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").write_bytes(bytes(1000))
    monkeypatch.setattr(budget, "RATIO_CHECK_MIN_BYTES", 100_000)
    weights = size_budget.SizeBudget(str(tmp_path / "m"))
    weights.add(150_000)
    weights.add(50_000)
    with pytest.raises(WeightsError, match="m unpacks to over 200000 bytes"):
        weights.add(1)
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_BYTES", "1000")
    with pytest.raises(WeightsError, match="unpacks to over 1000 bytes"):
        size_budget.SizeBudget(str(tmp_path / "m")).add(1001)
