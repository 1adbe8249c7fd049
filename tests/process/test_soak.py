"""Processes that resolve, refresh, prune, verify, repair, remove, fork and are killed at random, on one cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.named_models import put_model
from tests.soak.driver import Served, Soak
from tests.soak.models import make_files, read_version
from tests.soak.schedule import make_lives, make_releases


@pytest.mark.parametrize("seconds", [pytest.param(5.0, id="short"), pytest.param(60.0, id="long", marks=pytest.mark.long)])
def test_nothing_vanishes_changes_or_is_left(seconds: float) -> None:
    soak = Soak(seed=7, seconds=seconds, processes=4)
    soak.run()
    assert soak.faults == []
    assert soak.counts["resolve"] > 0


def test_a_seed_repeats_the_schedule() -> None:
    assert make_lives(7, 1, 60) == make_lives(7, 1, 60) != make_lives(7, 2, 60)
    assert make_releases(7, 60) == make_releases(7, 60) != make_releases(8, 60)


def test_the_model_of_the_expected_state() -> None:
    served = Served({0: [(0.0, 0), (10.0, 1), (20.0, 2)]})
    assert served.get_versions(0, 0, 5) == {0} and served.get_versions(0, 5, 15) == {0, 1}
    assert served.get_versions(0, 12, 15) == {1} and served.get_versions(0, 25, 30) == {2}


def test_a_mixture_and_an_incomplete_model_are_noticed(tmp_path: Path) -> None:
    assert read_version(str(put_model(tmp_path / "m", make_files(1, 2))), 1) == 2
    (tmp_path / "m/saved_model.pb").write_bytes(make_files(1, 3)["saved_model.pb"])
    with pytest.raises(AssertionError, match="mixture"):
        read_version(str(tmp_path / "m"), 1)
    (tmp_path / "m/more").touch()
    with pytest.raises(AssertionError, match="other files"):
        read_version(str(tmp_path / "m"), 1)
