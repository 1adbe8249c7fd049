"""What leaves a public function is a ResolverError, whatever is wrong with its arguments, the files or the system."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.faults.hostile_calls import list_functions
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture

REPOSITORY = Path(__file__).parents[2]
NEEDS_TENSORFLOW = {"load", "load_options"}
"""Their errors are tested in tests/tf."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory if possible: thousands of trees are created in it and removed, which there takes a tenth."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as path:
        yield Path(path)


def run(circumstance: str, folder: Path) -> str:
    """Return a line for each exception that is not a ResolverError."""
    (folder / "work").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TFIMM", "TFHUB", "HF_"))}
    result = subprocess.run(
        [sys.executable, "-m", "tests.fakes.faults.hostile_calls", circumstance, str(folder / "work")],
        cwd=REPOSITORY,
        env={**environment, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.mark.parametrize("circumstance", ["nothing", "files", "sizes", "threads", "working_directory", "replaced"])
def test_no_raw_error_leaves_a_public_function_when_the_system_is_at_fault(circumstance: str, folder: Path) -> None:
    assert run(circumstance, folder) == ""


@pytest.mark.skipif(getattr(os, "geteuid", int)() != 0, reason="only root can act as another user")
def test_no_raw_error_leaves_a_public_function_when_permissions_are_missing(folder: Path, tmp_path: Path) -> None:
    for path in (folder, tmp_path, *list(tmp_path.parents)[:2]):
        path.chmod(0o755)
    assert run("permissions", folder) == ""


def test_no_raw_error_leaves_a_public_function_for_any_argument(folder: Path) -> None:
    assert run("values", folder) == ""


def test_every_public_function_is_called() -> None:
    snapshot = (REPOSITORY / "tests/data/public_api.txt").read_text()
    public = {
        name.removeprefix("tfimm_resolver.") for name in re.findall(r"^(tfimm_resolver[\w.]+)\(", snapshot, re.MULTILINE)
    }
    assert public - NEEDS_TENSORFLOW - {"inspection.inspect"} - {name.partition(" ")[0] for name in list_functions()} == set()
