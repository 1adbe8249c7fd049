"""A cached model."""

from __future__ import annotations

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.origin import Origin
from tfimm_resolver import resolve


@pytest.fixture
def handle(origin: Origin) -> str:
    """The handle of a model that is cached."""
    url = origin.put("/m.tgz", tar_gz())
    resolve(url)
    return url
