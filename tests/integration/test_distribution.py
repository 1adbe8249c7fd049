"""The package as users get it: what wheel and sdist contain, and that it works in an environment with nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin

REPOSITORY = Path(__file__).parents[2]
SOURCES = ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", "tests", "tfimm_resolver")
IMPORTS = {
    "gs": "obstore, google.auth",
    "s3": "obstore, botocore.session",
    "hf": "huggingface_hub",
    "tensorflow": "h5py, ml_dtypes, numpy, tensorflow, tensorflow_hub, tf_keras",
}
BUILD = """
import sys
from setuptools import build_meta
folder = sys.argv[1]  # which the next line changes
print(build_meta.build_sdist(folder), build_meta.build_wheel(folder))
"""
pytestmark = pytest.mark.xdist_group("distribution")  # so that it is built once


def run(*command: str | Path, **options: object) -> str:
    """Run a command, which must succeed, and return its output."""
    job = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)  # type: ignore[call-overload]
    assert job.returncode == 0, f"{job.stdout}\n{job.stderr}"
    return str(job.stdout)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, as in a clone."""
    folder = tmp_path_factory.mktemp("clone") / "tfimm_resolver"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(REPOSITORY / name, folder)
    return folder


@pytest.fixture(scope="session")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel, built with the setuptools of this environment."""
    folder = tmp_path_factory.mktemp("dist")
    sdist, wheel = run(sys.executable, "-c", BUILD, folder, cwd=source).splitlines()[-1].split()
    return folder / sdist, folder / wheel


def find_requirements(requirement: Requirement) -> Iterator[metadata.Distribution]:
    """Yield the installed distributions that a requirement needs, itself included; some may appear more than once."""
    seen, queue = set(), [requirement]
    while queue:
        needed = queue.pop()
        if (needed.name, *sorted(needed.extras)) in seen:
            continue
        seen.add((needed.name, *sorted(needed.extras)))
        distribution = metadata.distribution(needed.name)
        yield distribution
        for inner in map(Requirement, distribution.requires or ()):
            extras = needed.extras or {""}
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                queue.append(inner)


class Environment:
    """A virtual environment with the wheel and, as links, what the wheel requires with an extra; nothing else."""

    def __init__(self, folder: Path, wheel: Path, extra: str = "") -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.bin = folder / "bin"
        self.site = next(folder.glob("lib/python*/site-packages"))
        self._install(wheel)
        (own,) = metadata.distributions(name="tfimm_resolver", path=[str(self.site)])
        for requirement in map(Requirement, own.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                for distribution in find_requirements(requirement):
                    self._link(distribution)

    def _install(self, wheel: Path) -> None:
        options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--ignore-installed"]
        run(sys.executable, "-m", "pip", "install", *options, "--prefix", self.bin.parent, wheel)
        program = self.bin / "tfimm-resolver"
        program.write_text(f"#!{self.bin / 'python'}\n" + program.read_text().partition("\n")[2])

    def _link(self, distribution: metadata.Distribution) -> None:
        for top in {Path(file).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            target = Path(str(distribution.locate_file(top)))
            if not (self.site / top).exists():
                (self.site / top).symlink_to(target)
            elif target.is_dir() and target.resolve() != (self.site / top).resolve():
                raise AssertionError(f"{top} is in two places")

    def run(self, *command: str | Path) -> str:
        """Run a program of the environment, which must succeed."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return run(self.bin / command[0], *command[1:], env=environment, cwd=self.bin)


@pytest.fixture(scope="session")
def bare(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment without extras."""
    return Environment(tmp_path_factory.mktemp("bare"), built[1])


def test_the_wheel_contains_the_package_and_no_tests(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        facts = wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))).decode()
    package = REPOSITORY / "tfimm_resolver"
    modules = {path.relative_to(REPOSITORY).as_posix() for path in package.rglob("*.py")}
    assert names == modules | {"tfimm_resolver/py.typed", "tfimm_resolver/cli/troubleshooting.md"}
    assert "\nRequires-Python: >=3.10\n" in facts and "\nProvides-Extra: tensorflow\n" in facts


def test_the_sdist_contains_what_a_wheel_is_built_from_and_no_tests(built: tuple[Path, Path], tmp_path: Path) -> None:
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
        sdist.extractall(tmp_path, filter="data")
    assert {"LICENSE", "README.md", "pyproject.toml", "setup.cfg", "tfimm_resolver/py.typed"} <= names
    assert not [name for name in names if name.startswith("tests")]
    (folder,) = tmp_path.glob("tfimm_resolver-*")
    run(sys.executable, "-c", BUILD, tmp_path, cwd=folder)
    with zipfile.ZipFile(built[1]) as wheel, zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as again:
        assert sorted(wheel.namelist()) == sorted(again.namelist())


def test_without_extras_the_package_fetches_and_lists_models(bare: Environment, origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    path = bare.run("tfimm-resolver", "resolve", handle).strip()
    assert files_in(path) == MODEL and Path(path).parent == cache_dir
    assert handle in bare.run("tfimm-resolver", "ls", "--json")
    assert bare.run("tfimm-resolver", "--help").startswith("Usage: ")
    code = "import sys, tfimm_resolver; print(tfimm_resolver.__file__, tfimm_resolver.resolve(sys.argv[1]))"
    assert bare.run("python", "-c", code, handle).split() == [f"{bare.site}/tfimm_resolver/__init__.py", path]
    assert (bare.site / "tfimm_resolver" / "py.typed").exists()
    for missing in ("numpy", "tensorflow", "obstore", "pytest"):
        with pytest.raises(AssertionError, match="ModuleNotFoundError"):
            bare.run("python", "-c", f"import {missing}")


@pytest.mark.parametrize(
    "extra",
    [
        "gs",
        "s3",
        "hf",
        pytest.param("tensorflow", marks=[pytest.mark.tensorflow, pytest.mark.long]),
    ],
)
def test_an_extra_installs_what_it_promises(extra: str, built: tuple[Path, Path], tmp_path: Path) -> None:
    environment = Environment(tmp_path / "environment", built[1], extra)
    environment.run("python", "-c", f"import tfimm_resolver, {IMPORTS[extra]}")


def test_the_package_can_be_installed_from_git(source: Path, tmp_path: Path) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    repository = shutil.copytree(source, tmp_path / "repository")
    run("git", "init", "--quiet", repository)
    run("git", "add", "--all", cwd=repository)
    run("git", *identity, "commit", "--quiet", "--message", "all", cwd=repository)
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    url = f"git+{repository.as_uri()}"
    run(sys.executable, "-m", "pip", "install", *options, "--target", tmp_path / "site", url)
    assert (tmp_path / "site" / "tfimm_resolver" / "py.typed").exists() and not (tmp_path / "site" / "tests").exists()
