"""Exact amounts are read from chunks of any length."""

from __future__ import annotations

import itertools

import pytest

from tfimm_resolver.archives.tar_blocks import BlockReader
from tfimm_resolver.errors import ArchiveError


def test_reads_across_chunks_and_knows_the_end() -> None:
    reader = BlockReader([b"ab", b"", memoryview(b"cdef")])
    assert reader.read_exact(3) == b"abc" and not reader.is_at_end
    assert [bytes(chunk) for chunk in reader.iter_bytes(3)] == [b"def"] and reader.is_at_end


def test_less_than_requested_is_an_error() -> None:
    with pytest.raises(ArchiveError, match="truncated"):
        BlockReader([b"abc"]).read_exact(4)


@pytest.mark.parametrize(("size", "padding"), [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)])
def test_skips_the_padding_of_a_body(size: int, padding: int) -> None:
    reader = BlockReader([bytes(padding)])
    reader.skip_padding(size)
    assert reader.is_at_end


def test_only_zeros_may_follow_the_end() -> None:
    BlockReader([bytes(5), bytes(70_000)]).expect_zeros()
    with pytest.raises(ArchiveError, match="follows its end"):
        BlockReader([bytes(5), b"\0x"]).expect_zeros()
    BlockReader([bytes(5)]).expect_zeros(5)
    with pytest.raises(ArchiveError, match="of zeros follow its end"):
        BlockReader(itertools.repeat(bytes(1 << 20), 1100)).expect_zeros()
    with pytest.raises(ArchiveError, match="truncated"):
        BlockReader([bytes(5)]).expect_zeros(6)
    with pytest.raises(ArchiveError, match="follows its end"):
        BlockReader([b"\0x", bytes(5)]).expect_zeros(2)
