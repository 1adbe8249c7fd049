"""A fixture for the tests of a module that imports it: small ranges."""

from __future__ import annotations

import pytest

from tests.fakes.faults import RANGE_BYTES


@pytest.fixture(autouse=True)
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce the size of a range, so that an archive of two megabytes has 17."""
    monkeypatch.setattr("tfimm_resolver.transfer.download.RANGE_BYTES", RANGE_BYTES)
