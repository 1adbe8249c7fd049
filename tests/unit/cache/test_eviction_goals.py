"""Tests of ``cache.eviction_goals``: how much has to be freed, in all stores together and on each disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfimm_resolver._util import fs
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.contents import MODEL, WEIGHTS, Item, LocalStore
from tfimm_resolver.cache.eviction_goals import Goals
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.record import Record
from tfimm_resolver.settings.limits import CacheLimits, Size

NO_LIMITS = CacheLimits()


class Disk(LocalStore):
    """A store on a disk of its own."""

    def __init__(self, path: Path, kind: str, number: int) -> None:
        super().__init__(Cache(LocalRoot(str(path))), kind)
        self._number = number

    def get_disk(self) -> int:
        return self._number


@pytest.fixture
def stores(tmp_path: Path) -> list[LocalStore]:
    """Two stores on two disks, and one that does not exist."""
    return [Disk(tmp_path, MODEL, 1), Disk(tmp_path, WEIGHTS, 2), Disk(tmp_path / "none", WEIGHTS, 0)]


def make_items(stores: list[LocalStore], *sizes: tuple[int, int]) -> list[Item]:
    return [Item(str(size), MODEL, size, 0.0, Record("", ""), stores[number]) for number, size in sizes]


def test_without_limits_nothing_is_to_be_freed(stores: list[LocalStore]) -> None:
    items = make_items(stores, (0, 100), (1, 100))
    goals = Goals(stores, items, NO_LIMITS, 10**9, 0, None)
    assert not any(map(goals.include, items)) and goals.missing_bytes == 0


def test_the_size_counts_all_stores_down_to_nine_tenths(stores: list[LocalStore]) -> None:
    items = make_items(stores, (0, 100), (1, 60), (1, 40))
    goals = Goals(stores, items, CacheLimits(max_size=Size(150)), 0, 0, None)
    assert all(map(goals.include, items)) and goals.missing_bytes == 200 - 150
    goals.subtract(items[1])
    assert goals.missing_bytes == 0 and all(map(goals.include, items)), "140 are more than nine tenths"
    goals.subtract(items[2])
    assert not any(map(goals.include, items)) and goals.missing_bytes == 0


def test_what_is_about_to_be_added_counts(stores: list[LocalStore]) -> None:
    items = make_items(stores, (0, 100))
    assert Goals(stores, items, CacheLimits(max_size=Size(100)), 0, 0, None).missing_bytes == 0
    assert Goals(stores, items, CacheLimits(max_size=Size(100)), 50, 0, None).missing_bytes == 50


def test_what_stays_after_all_is_missing_only_beyond_the_limit(stores: list[LocalStore]) -> None:
    items = make_items(stores, (0, 100), (0, 60), (0, 30))
    goals = Goals(stores, items, CacheLimits(max_size=Size(150)), 0, 0, None)
    for item in items[1:]:
        goals.subtract(item)
    goals.restore(items[2])
    assert goals.missing_bytes == 0
    goals.restore(items[1])
    assert goals.missing_bytes == 190 - 150


def test_only_a_removal_on_a_full_disk_makes_room_there(stores: list[LocalStore]) -> None:
    items = make_items(stores, (0, 100), (1, 50))
    for disk, expected in ((1, [True, False]), (2, [False, True]), (None, [True, False]), (3, [False, False])):
        goals = Goals(stores, items, NO_LIMITS, 0, 70, disk)
        assert list(map(goals.include, items)) == expected
        assert goals.missing_bytes == (70 if any(expected) else 0)
    goals = Goals(stores, items, NO_LIMITS, 0, 70, 2)
    goals.subtract(items[1])
    assert goals.missing_bytes == 20


def test_free_space_is_kept_on_each_disk(stores: list[LocalStore], tmp_path: Path) -> None:
    items = make_items(stores, (0, 100), (1, 50))
    goals = Goals(stores, items, CacheLimits(min_free=Size(fraction=1.0)), 0, 0, None)
    assert list(map(goals.include, items)) == [True, True] and goals.missing_bytes == 150
    disk_bytes, _ = fs.get_disk_bytes(tmp_path) or (0, 0)
    assert disk_bytes and Goals(stores, items, CacheLimits(min_free=Size(1)), 0, 0, None).missing_bytes == 0


def test_without_a_store_nothing_is_to_be_freed(stores: list[LocalStore]) -> None:
    for some in ([], stores[2:]):
        assert Goals(some, [], CacheLimits(Size(fraction=0.1), Size(fraction=0.1)), 100, 100, None).missing_bytes == 0
