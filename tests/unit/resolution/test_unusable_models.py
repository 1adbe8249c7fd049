"""Tests of ``resolution.unusable_models``: the errors say what is there, and what to do."""

from __future__ import annotations

import pytest

from tfimm_resolver.errors import NotASavedModelError
from tfimm_resolver.resolution.unusable_models import make_missing_model_error, make_several_models_error
from tfimm_resolver.saved_model.locate import FoundModels


def test_several_models_are_listed_with_a_way_to_choose_one() -> None:
    error = make_several_models_error("/m", FoundModels(("a", "b")), "export")
    assert isinstance(error, NotASavedModelError) and error.fix.endswith("#subdirectory=export/a")
    assert "more than one SavedModel\n  found: a, b" in error.text
    assert "too many directories" in make_several_models_error("/m", FoundModels(("a",), is_complete=False), "").text


@pytest.mark.parametrize(("names", "found"), [([], "nothing"), (["b/", "a"], "a, b/"), (["m.h5"], "m.h5 is")])
def test_a_directory_without_a_model_is_described(names: list[str], found: str) -> None:
    error = make_missing_model_error("/m", names)
    assert found in error.text
    assert error.fix.startswith("Give the directory") == ("m.h5" not in names) and error.fix
