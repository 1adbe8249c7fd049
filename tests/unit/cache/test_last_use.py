"""The last use of a model is what the directory says, or a later read of its graph."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.fakes.named_models import put_model
from tfimm_resolver.cache.last_use import allow_exact_access_times, get_last_use_s
from tfimm_resolver.cache.record import hash_tree

HOUR_S = 3600


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return put_model(tmp_path / "m")


def set_times(tree: Path, *, used_s: float, read_s: float) -> None:
    os.utime(tree / "saved_model.pb", (read_s, 1))
    os.utime(tree, (used_s, used_s))


@pytest.mark.parametrize(("used_s", "read_s"), [(200, 100), (100, 200)])
def test_the_later_of_both_counts(tree: Path, used_s: int, read_s: int) -> None:
    set_times(tree, used_s=used_s, read_s=read_s)
    assert get_last_use_s(str(tree)) == 200


def test_a_model_that_does_not_exist_has_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        get_last_use_s(str(tmp_path / "m"))


def is_noted(tree: Path) -> bool:
    """Read the graph, and return whether the disk notes that; skip the test on one that notes nothing."""
    file = tree / "saved_model.pb"
    os.utime(tree, (1, 1))
    before_s = get_last_use_s(str(tree))
    file.read_bytes()
    return get_last_use_s(str(tree)) > before_s


def test_a_read_is_noted_although_an_earlier_one_was_not_long_ago(tree: Path) -> None:
    set_times(tree, used_s=1, read_s=time.time() - 2 * HOUR_S)
    if not is_noted(tree):
        pytest.skip("this disk does not note when files are read")
    if os.statvfs(tree).f_flag & os.ST_RELATIME:
        assert not is_noted(tree), "as relatime does it"
    allow_exact_access_times(str(tree))
    assert is_noted(tree)


def test_hashing_a_model_is_not_a_use(tree: Path) -> None:
    set_times(tree, used_s=1, read_s=1000)
    hash_tree(str(tree))
    assert get_last_use_s(str(tree)) == 1000


def test_a_change_of_nothing_is_not_a_use(tree: Path) -> None:
    set_times(tree, used_s=1, read_s=1000)
    allow_exact_access_times(str(tree))
    assert get_last_use_s(str(tree)) == 1000
