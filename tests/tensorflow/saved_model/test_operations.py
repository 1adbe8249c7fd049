"""The search for operations in models that TensorFlow saved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fakes.archives import REAL
from tests.tensorflow.operation_models import HARMLESS, HOSTILE, save_model
from tfimm_resolver.saved_model.operations import find_operations


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_model_does_outside_of_it_is_found(name: str, tmp_path: Path) -> None:
    save, expected = HOSTILE[name]
    assert expected in {(one.kind, one.when) for one in find_operations(str(save_model(save, tmp_path)))}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_model_has_no_finding(name: str, tmp_path: Path) -> None:
    assert find_operations(str(save_model(HARMLESS[name], tmp_path))) == []


def test_a_module_of_tensorflow_hub_has_no_finding(tmp_path: Path) -> None:
    shutil.unpack_archive(REAL, tmp_path, filter="data")
    assert find_operations(str(tmp_path)) == []
