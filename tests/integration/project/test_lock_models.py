"""Tests of ``project.lock_models``: compares models with upstream, and pins them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.origin import Origin
from tests.fakes.pins import OTHER, PIN, WriteModels, make_pinned
from tests.fakes.pins import project as project  # noqa: PLC0414  # a fixture
from tests.fakes.pins import write_models as write_models  # noqa: PLC0414  # a fixture
from tfimm_resolver import maintenance
from tfimm_resolver import project as project_module
from tfimm_resolver.errors import HandleError
from tfimm_resolver.project.lock_models import lock


def test_unpinned_models_are_pinned_and_a_check_changes_nothing(write_models: WriteModels, origin: Origin) -> None:
    file = write_models(m={"handle": origin.put("/m.tgz", tar_gz())})
    before = file.read_text()
    assert [result.state for result in lock(check=True)] == ["unpinned"] and file.read_text() == before
    (result,) = lock()
    assert (result.state, result.origin.sha256) == ("pinned", PIN) and PIN in file.read_text()
    assert [result.state for result in lock(["m"])] == ["ok"]


def test_a_changed_archive_is_reported_and_pinned_only_on_request(write_models: WriteModels, origin: Origin) -> None:
    file = write_models(m=make_pinned(origin.put("/m.tgz", tar_gz(OTHER))), gone=make_pinned(f"{origin.url}/gone.tgz"))
    before = file.read_text()
    assert {result.model.name: result.state for result in lock()} == {"m": "changed", "gone": "failed"}
    assert file.read_text() == before
    (result,) = lock(["m"], update=True)
    assert result.state == "updated" and result.origin.sha256 in file.read_text() and result.origin.sha256 != PIN


def test_update_and_check_contradict_each_other() -> None:
    with pytest.raises(HandleError, match="use one of them"):
        lock(update=True, check=True)


FUNCTIONS = [lock, project_module.sync, maintenance.select, maintenance.verify, maintenance.remove]


@pytest.mark.parametrize("jobs", [0, -1, 65, 1.5, "4", None])
@pytest.mark.parametrize("function", FUNCTIONS[:2])
def test_jobs_is_a_number_in_a_range(function: Callable[..., object], jobs: object, write_models: WriteModels) -> None:
    write_models(m={"handle": "https://models.example/m.tgz"})
    with pytest.raises(HandleError, match="jobs is a number from 1 to 64"):
        function(jobs=jobs)


@pytest.mark.parametrize("names", [3, None, b"m", ["m", 3]])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_is_not_a_name_is_an_error(function: Callable[..., object], names: object, write_models: WriteModels) -> None:
    write_models(m={"handle": "https://models.example/m.tgz"})
    with pytest.raises(HandleError, match="name"):
        function(names)
