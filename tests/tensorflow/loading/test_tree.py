"""Tests of ``loading.tree``: a SavedModel deeper inside a tree is loaded, or the error says how to choose one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import files_in, tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.fork_server import ForkServer
from tests.fakes.origin import Origin
from tfimm_resolver import load
from tfimm_resolver.errors import LoadError, NotASavedModelError
from tfimm_resolver.loading.loader import load_resolved
from tfimm_resolver.resolution.operation_check import ModelCheck
from tfimm_resolver.resolution.resolver import ResolvedModel

tf = pytest.importorskip("tensorflow")


def run_on_1_and_2(model: Any) -> list[float]:
    """Call a model."""
    values: list[float] = model(tf.constant([1.0, 2.0])).numpy().tolist()
    return values


def put_versions(line: Path, into: Path, *versions: str) -> Path:
    """Copy a model to each of the directories."""
    for version in versions:
        shutil.copytree(line, into / version)
    return into


def test_a_model_deeper_inside_is_loaded(line: Path, origin: Origin, tmp_path: Path) -> None:
    base = put_versions(line, tmp_path / "base", "export/Servo/1", "export/Servo/2")
    (base / "export/Servo/1/saved_model.pb").write_bytes(b"damaged")
    url = origin.put("/m.tar.gz", tar_gz(files_in(base)))
    for handle in (base, url, f"{url}#subdirectory=export", f"{url}#subdirectory=export/Servo/2"):
        assert run_on_1_and_2(load(handle)) == [3.0, 5.0]
    assert run_on_1_and_2(load(base / "export/Servo/2/saved_model.pb")) == [3.0, 5.0]
    with pytest.raises(LoadError, match="cannot load"):
        load(f"{url}#subdirectory=export/Servo/1")


def test_of_several_models_none_is_loaded_and_the_error_says_how_to_choose(line: Path, origin: Origin, tmp_path: Path) -> None:
    base = put_versions(line, tmp_path / "base", "zoo/cat", "zoo/lion")
    url = origin.put("/m.tar.gz", tar_gz(files_in(base)))
    for handle, found, fragment in (
        (str(base), "zoo/cat, zoo/lion", "#subdirectory=zoo/cat"),
        (url, "zoo/cat, zoo/lion", "#subdirectory=zoo/cat"),
        (f"{url}#subdirectory=zoo", "cat, lion", "#subdirectory=zoo/cat"),
    ):
        with pytest.raises(NotASavedModelError, match="contains more than one SavedModel") as caught:
            load(handle)
        assert f"found: {found}" in str(caught.value) and fragment in caught.value.fix
        assert run_on_1_and_2(load(handle.partition("#")[0] + fragment)) == [3.0, 5.0]


def load_unrestricted(path: str) -> object:
    """Load what is at a path that no policy is about."""
    return load_resolved(ResolvedModel(path, ModelCheck(path, list)))


def test_a_directory_that_only_tensorflow_can_list_is_searched_by_it(line: Path) -> None:
    for version in ("2", "10"):
        tf.io.gfile.makedirs(f"ram://base/{version}/variables")
        for name, data in files_in(line).items():
            with tf.io.gfile.GFile(f"ram://base/{version}/{name}", "wb") as file:
                file.write(data)
    assert run_on_1_and_2(load_unrestricted("ram://base")) == [3.0, 5.0]
    tf.io.gfile.makedirs("ram://base/best")
    tf.io.gfile.copy("ram://base/2/saved_model.pb", "ram://base/best/saved_model.pb")
    with pytest.raises(NotASavedModelError, match="found: 10, 2, best"):
        load_unrestricted("ram://base")
    with pytest.raises(NotASavedModelError, match="it contains"):
        load_unrestricted("ram://base/2/variables")


def test_the_command_loads_a_subdirectory_and_says_how_to_choose(line: Path, tmp_path: Path, server: ForkServer) -> None:
    base = put_versions(line, tmp_path / "base", "a", "b")
    code, out, _ = run_cli("load", f"{base}#subdirectory=b", server=server)
    assert code == 0 and "serving_default" in out
    code, _, err = run_cli("load", str(base), server=server)
    assert code == 5 and "found: a, b" in err and "#subdirectory=a" in err
