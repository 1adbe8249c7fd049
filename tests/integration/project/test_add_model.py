"""Tests of ``project.add_model``: adds a pinned model to the models file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.origin import Origin
from tests.fakes.pins import OTHER, PIN, SIZE_BYTES
from tests.fakes.pins import project as project  # noqa: PLC0414  # a fixture
from tfimm_resolver import resolve
from tfimm_resolver.errors import HandleError, IntegrityError, ModelsFileError, NotFoundError
from tfimm_resolver.models_file import discovery
from tfimm_resolver.project.add_model import add


def test_a_model_is_fetched_pinned_and_found_by_name_and_alias(project: Path, origin: Origin) -> None:
    added = add("m", origin.put("/m.tgz", tar_gz()), aliases=["n"])
    assert (added.state, added.model.sha256, added.model.size_bytes) == ("pinned", PIN, SIZE_BYTES)
    assert resolve("m") == resolve("n") == added.path and discovery.find_entry("m") == added.model


def test_a_name_is_replaced_only_on_request(project: Path, origin: Origin) -> None:
    add("m", origin.put("/m.tgz", tar_gz()))
    other = origin.put("/other.tgz", tar_gz(OTHER))
    with pytest.raises(ModelsFileError, match="m already exists"):
        add("m", other)
    assert add("m", other, replace=True).model == discovery.find_entry("m")


def test_a_failure_leaves_no_models_file(project: Path, origin: Origin) -> None:
    url, other = origin.put("/m.tgz", tar_gz()), origin.put("/other.tgz", tar_gz(OTHER))
    with pytest.raises(NotFoundError):
        add("m", f"{origin.url}/gone.tgz")
    with pytest.raises(IntegrityError, match="is not a mirror of"):
        add("m", url, mirrors=[other])
    assert list(project.iterdir()) == []


@pytest.mark.parametrize("argument", ["aliases", "mirrors"])
def test_an_argument_that_is_not_names_is_an_error(argument: str) -> None:
    with pytest.raises(HandleError, match=f"{argument} is a name or a list of names, not int"):
        add("half", "https://models.example/m.tgz", **{argument: 3})  # type: ignore[arg-type]
