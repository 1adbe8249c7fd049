"""Members and bytes are counted up to the limits."""

from __future__ import annotations

import pytest

from tfimm_resolver.archives.budget import Budget, Limits
from tfimm_resolver.errors import ArchiveError


def test_members_are_counted_up_to_the_limit() -> None:
    budget = Budget(Limits(members=3))
    budget.add_members()
    budget.add_members(2)
    with pytest.raises(ArchiveError, match="over 3 members") as caught:
        budget.add_members()
    assert "TFIMM_RESOLVER_MAX_MEMBERS" in caught.value.fix


def test_bytes_are_counted_up_to_the_limit() -> None:
    budget = Budget(Limits(size_bytes=10))
    assert list(budget.count_chunks([b"12345", b"67890"])) == [b"12345", b"67890"] and budget.size_bytes == 10
    with pytest.raises(ArchiveError, match="over 10 bytes") as caught:
        budget.add_bytes(1)
    assert "TFIMM_RESOLVER_MAX_BYTES" in caught.value.fix


def test_the_ratio_is_that_to_the_packed_bytes_and_not_checked_at_first() -> None:
    packed_bytes = 1 << 20
    budget = Budget(Limits(ratio=100), lambda: packed_bytes)
    budget.add_bytes(100 << 20)
    with pytest.raises(ArchiveError, match="over 100 times its size"):
        budget.add_bytes(1)
    Budget(Limits(ratio=1), lambda: 1).add_bytes(64 << 20)
    Budget(Limits(ratio=1)).add_bytes(1 << 30)
