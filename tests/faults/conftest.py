"""What every test of faults gets: a host whose faults it may switch on, and small ranges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import RANGE_BYTES
from tests.faults.origin import Host


@pytest.fixture
def host() -> Iterator[Host]:
    """A host on loopback that does all right until it is told otherwise."""
    with Host() as server:
        yield server


@pytest.fixture(autouse=True)
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the size of a range: an archive of two megabytes then comes in 17."""
    monkeypatch.setattr("tfimm_resolver.transfer.download.RANGE_BYTES", RANGE_BYTES)
