"""The package in a zip and frozen by PyInstaller, without its metadata: resolves a model and runs commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import tar_gz
from tests.fakes.origin import Origin

PACKAGE = Path(tfimm_resolver.__file__).parent
NOT_NEEDED = (
    *("tensorflow", "tensorflow_hub", "keras", "tf_keras", "numpy", "h5py", "ml_dtypes", "IPython", "setuptools"),
    *("huggingface_hub", "botocore", "obstore", "google.auth", "pkg_resources"),
)
"""Packages that only some handles need; without them PyInstaller takes less long."""

PROGRAM = "import sys\nfrom tfimm_resolver.cli import main\nsys.exit(main())\n"
CHECKS = """
import importlib.metadata, os, sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder)]
sys.path.insert(0, sys.argv[1])
importlib.metadata.Distribution.from_name = None  # whatever is installed must not be asked
import tfimm_resolver
print(tfimm_resolver.__file__.startswith(sys.argv[1]), tfimm_resolver.__version__)
print(sorted(os.listdir(tfimm_resolver.resolve(sys.argv[2]))))
try:
    tfimm_resolver.resolve("zoo://lion")
except tfimm_resolver.errors.UnknownHandleError:
    print("unknown")
"""


def run(*command: str | Path, code: int = 0) -> str:
    """Run a command in a directory without the package, and return its output."""
    job = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd="/")
    assert job.returncode == code, f"{job.stdout}\n{job.stderr}"
    return job.stdout


def copy_package(archive: Path) -> None:
    """Write the package into a zip that Python can run."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in PACKAGE.rglob("*.py"):
            file.write(path, path.relative_to(PACKAGE.parent))
        file.writestr("__main__.py", PROGRAM)


def test_it_works_in_a_zip(origin: Origin, tmp_path: Path) -> None:
    copy_package(archive := tmp_path / "app.pyz")
    where, files, unknown = run(sys.executable, "-c", CHECKS, archive, origin.put("/m.tar.gz", tar_gz())).splitlines()
    assert where == f"True {tfimm_resolver.__version__}" and "saved_model.pb" in files and unknown == "unknown"


@pytest.mark.parametrize("command", ["ls", "path", "--version", "--help"])
def test_commands_work_in_a_zip(command: str, tmp_path: Path) -> None:
    copy_package(archive := tmp_path / "app.pyz")
    run(sys.executable, archive, command)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_pyinstaller_takes_along_what_is_needed(origin: Origin, tmp_path: Path) -> None:
    pytest.importorskip("PyInstaller")
    (tmp_path / "app.py").write_text(PROGRAM)
    excluded = [f"--exclude-module={name}" for name in ("tensorflow", "tensorflow_hub", "keras", "tf_keras", "numpy")]
    options = [
        f"--distpath={tmp_path}/out",
        f"--workpath={tmp_path}/work",
        f"--specpath={tmp_path}",
        f"--paths={PACKAGE.parent}",
    ]
    run(sys.executable, "-m", "PyInstaller", "--onedir", *options, *excluded, tmp_path / "app.py")
    program = tmp_path / "out" / "app" / "app"
    path = run(program, "resolve", origin.put("/m.tar.gz", tar_gz())).strip()
    assert "saved_model.pb" in os.listdir(path)
    assert tfimm_resolver.__version__ in run(program, "--version")
    for command in ("ls", "path", "verify"):
        run(program, command)
    run(program, "resolve", "zoo://lion", code=2)
    shutil.rmtree(tmp_path / "out")
