"""Fixtures of all tests under faults: a host that can fail, and small ranges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import RANGE_BYTES
from tests.faults.origin import Host


@pytest.fixture
def host() -> Iterator[Host]:
    """A loopback host that works until a test adds faults."""
    with Host() as server:
        yield server


@pytest.fixture(autouse=True)
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce the size of a range, so that an archive of two megabytes has 17."""
    monkeypatch.setattr("tfimm_resolver.transfer.download.RANGE_BYTES", RANGE_BYTES)
