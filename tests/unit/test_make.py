"""The Makefile with a Python that is too old, and with a .venv of another Python."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"
STUB = """#!/bin/sh
exec {python} -c '
import runpy, sys
sys.version_info = ({version}, 1, "final", 0)
if sys.argv[1] == "-c":
    exec(sys.argv[2])
else:
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
' "$@"
"""
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def write_python(path: Path, version: str) -> Path:
    """Write a program that is this Python, except that it reports another version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STUB.format(python=shlex.quote(sys.executable), version=version.replace(".", ", ")))
    path.chmod(0o755)
    return path


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory with the files that make reads, and a .venv in which everything is installed."""
    for name in (".ci/check_python.py", "Makefile", "setup.cfg", "pyproject.toml", "constraints.txt"):
        (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / "clone" / name)
    write_python(tmp_path / "clone" / ".venv" / "bin" / "python", OWN)
    for stamp in ("installed", "tested"):
        (tmp_path / "clone" / ".venv" / stamp).touch()
    return tmp_path / "clone"


def make(clone: Path, target: str, python: str | Path = sys.executable) -> subprocess.CompletedProcess[str]:
    """Let make print what it would run."""
    command = ["make", "--no-print-directory", "--dry-run", target, f"PYTHON={python}"]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("target", ["demo", "test", "check", "test-all"])
@pytest.mark.parametrize("version", ["2.7", "3.9"])
def test_a_python_that_is_too_old_is_reported_at_once(version: str, target: str, clone: Path, tmp_path: Path) -> None:
    job = make(clone, target, write_python(tmp_path / "python", version))
    assert job.returncode != 0 and job.stdout == ""
    assert f"is Python {version}; tfimm_resolver needs 3.10 or newer" in job.stderr and "make PYTHON=" in job.stderr


def test_a_python_that_does_not_exist_is_reported_at_once(clone: Path, tmp_path: Path) -> None:
    job = make(clone, "demo", tmp_path / "missing")
    assert job.returncode != 0 and job.stdout == "" and f"PYTHON={tmp_path / 'missing'} cannot be used" in job.stderr


def test_a_venv_of_the_same_python_is_used(clone: Path) -> None:
    job = make(clone, "test")
    assert job.returncode == 0 and "-m venv" not in job.stdout and "pytest" in job.stdout


@pytest.mark.parametrize("version", ["3.9", "3.99", "gone"])
def test_a_venv_of_another_python_is_created_again(version: str, clone: Path) -> None:
    if version == "gone":
        (clone / ".venv" / "bin" / "python").unlink()
    else:
        write_python(clone / ".venv" / "bin" / "python", version)
    job = make(clone, "test")
    assert job.returncode == 0 and f"{sys.executable} -m venv --clear .venv" in job.stdout
    assert f"not by {OWN}: it is created again" in job.stderr
    assert job.stdout.index("-m venv") < job.stdout.index(".[test]") < job.stdout.index("pytest")


def test_a_missing_venv_is_created(clone: Path) -> None:
    shutil.rmtree(clone / ".venv")
    job = make(clone, "demo")
    assert job.returncode == 0 and f"{sys.executable} -m venv .venv" in " ".join(job.stdout.split())
