"""Tests of ``handles.git``: which texts are refs and commits."""

from __future__ import annotations

import pytest

from tfimm_resolver.handles.git import COMMIT, is_ref


@pytest.mark.parametrize("text", ["main", "v1.0", "dev/x", "refs/heads/main", "a" * 40])
def test_names_of_branches_and_tags_are_refs(text: str) -> None:
    assert is_ref(text)


@pytest.mark.parametrize("text", ["a..b", "a b", "a~1", "a^", "a:b", "a?", "a\\b"])
def test_what_git_forbids_in_a_ref_is_not_one(text: str) -> None:
    assert not is_ref(text)


def test_a_commit_is_a_full_hash() -> None:
    assert COMMIT.fullmatch("a" * 40) and not COMMIT.fullmatch("a" * 39) and not COMMIT.fullmatch("A" * 40)
