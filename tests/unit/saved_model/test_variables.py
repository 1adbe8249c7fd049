"""Tests of ``saved_model.variables``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.checkpoints import make_entry, make_header, make_index
from tfimm_resolver.saved_model.variables import find_variables_defect


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Variables in two data files: one tensor of 8 bytes at 4 in the first, one of 12 at the start of the second."""
    entries = {b"a": make_entry(1, [2], bytes(8), offset=4), b"b": make_entry(1, [3], bytes(12), shard=1)}
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables/variables.index").write_bytes(make_index(entries, header=make_header(2)))
    for shard in (0, 1):
        (tmp_path / f"variables/variables.data-0000{shard}-of-00002").write_bytes(bytes(12))
    return tmp_path


def test_complete_variables_have_no_defect(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert find_variables_defect(str(folder)) is None
    assert find_variables_defect(str(tmp_path_factory.mktemp("none"))) is None


@pytest.mark.parametrize("shard", [0, 1])
def test_a_data_file_that_was_cut_off_is_named(shard: int, folder: Path) -> None:
    name = f"variables/variables.data-0000{shard}-of-00002"
    (folder / name).write_bytes(bytes(11))
    assert find_variables_defect(str(folder)) == f"{name} has 11 bytes, should have at least 12"


@pytest.mark.parametrize("damage", ["index", "missing"])
def test_other_damage_is_described(damage: str, folder: Path) -> None:
    if damage == "index":
        (folder / "variables/variables.index").write_bytes(b"no index")
    else:
        (folder / "variables/variables.data-00001-of-00002").unlink()
    assert find_variables_defect(str(folder)) is not None
