"""Tests of ``transfer.ranges``: when a range is on disk."""

from __future__ import annotations

import pytest

from tfimm_resolver.transfer.ranges import Range


@pytest.mark.parametrize(("done_bytes", "expected"), [(0, False), (9, False), (10, True), (11, True)])
def test_a_range_is_done_once_all_its_bytes_are_on_disk(done_bytes: int, expected: bool) -> None:
    assert Range(start=100, size_bytes=10, done_bytes=done_bytes).is_done is expected
