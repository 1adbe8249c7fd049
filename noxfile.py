"""Runs the tests on every supported Python that is found: ``make test-all``, or ``nox --list`` for the sessions."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["interpreters", "oldest", "latest", "tensorflow"]
nox.options.error_on_missing_interpreters = False
nox.options.stop_on_first_error = False

VERSIONS = ("3.10", "3.11", "3.12", "3.13")
PYTEST = ("-p", "no:cacheprovider", "--numprocesses", "auto", "--maxprocesses", "8", "--dist", "loadgroup")
UNIT, INTEGRATION = "tests/unit", "tests/integration"
ENGINES = "tests/engines"


def find_interpreter(version: str) -> str | None:
    """Return the path of a Python of this version: one on PATH, one of pyenv, or one that uv knows."""
    root = os.environ.get("PYENV_ROOT") or _run("pyenv", "root") or os.devnull
    of_pyenv = [str(path) for path in sorted(Path(root, "versions").glob(f"{version}.*/bin/python"), reverse=True)]
    of_uv = _run("uv", "python", "find", "--no-python-downloads", version)
    code = "import sys; print(sys.executable, '%d.%d' % sys.version_info[:2])"
    for candidate in (shutil.which(f"python{version}"), *of_pyenv, of_uv):
        path, _, found = ((candidate and _run(candidate, "-c", code)) or "").rpartition(" ")
        if found == version:
            return path
    return None


def _run(*command: str) -> str | None:
    """Return what a command prints, or None if it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None


FOUND = {version: path for version in VERSIONS if (path := find_interpreter(version))}
NEWEST = list(FOUND)[-1:]
# nox looks for python3.12 on PATH; a shim of pyenv there may refuse to run it.
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
os.environ["PATH"] = os.pathsep.join([*(str(Path(path).parent) for path in FOUND.values()), os.environ["PATH"]])


def _install(session: nox.Session, extra: str, *options: str) -> None:
    session.run_install("uv", "pip", "install", "--quiet", *options, "-e", f".[{extra}]")


def _install_peers(session: nox.Session) -> None:
    """Install what ``make test`` installs besides: tfimm, which asks for an older Python, and a setuptools of its own."""
    pip = ("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    session.run_install(*pip, "--no-deps", "--ignore-requires-python", "tfimm==0.2.14")
    session.run_install(*pip, "--upgrade", "--target", f"{session.virtualenv.location}/setuptools-84", "setuptools==84.2.1")


def _test(session: nox.Session, *arguments: str) -> None:
    session.run("python", "-m", "pytest", *PYTEST, *arguments, *session.posargs)


@nox.session(python=False)
def interpreters(session: nox.Session) -> None:
    """List the interpreters that are found, and those that are missing."""
    for version in VERSIONS:
        session.log(f"Python {version}: {FOUND.get(version, 'missing; its sessions do not run')}")


@nox.session(python=VERSIONS)
def unit(session: nox.Session) -> None:
    """Run the unit tests, without TensorFlow, with the versions of constraints.txt."""
    _install(session, "test-unit", "--constraint", "constraints.txt")
    _test(session, UNIT)


@nox.session(python=VERSIONS)
def oldest(session: nox.Session) -> None:
    """Run the unit and integration tests, without TensorFlow, with the lowest declared versions of the dependencies."""
    _install(session, "test-integration", "--resolution", "lowest-direct")
    _test(session, "-m", "not tensorflow and not long", UNIT, INTEGRATION)


@nox.session(python=VERSIONS)
def latest(session: nox.Session) -> None:
    """Run the unit and integration tests, without TensorFlow, with the newest versions of the dependencies."""
    _install(session, "test-integration", "--upgrade")
    _test(session, "-m", "not tensorflow and not long", UNIT, INTEGRATION)


@nox.session(python=NEWEST)
def tensorflow(session: nox.Session) -> None:
    """Run the tests that need TensorFlow, on the newest Python for which it has wheels."""
    _install(session, "test", "--constraint", "constraints.txt", "--only-binary", "tensorflow")
    _install_peers(session)
    _test(session, "-m", "tensorflow and not long")


@nox.session(python=NEWEST)
def newest(session: nox.Session) -> None:
    """Run every test with the newest releases: what fails here and not in ``make test`` is what a release has changed."""
    _install(session, "test", "--upgrade")
    _install_peers(session)
    session.run("uv", "pip", "list", "--outdated")
    _test(session)


@nox.session(python=NEWEST)
def beam(session: nox.Session) -> None:
    """Run the tests with Apache Beam, on the newest Python for which it has wheels."""
    _test_engine(session, "beam")


@nox.session(python=NEWEST)
def ray(session: nox.Session) -> None:
    """Run the tests with a cluster of Ray, on the newest Python for which it has wheels."""
    _test_engine(session, "ray")


@nox.session(python=NEWEST)
def others(session: nox.Session) -> None:
    """Run the recipes of the documentation with Spark, Dask and gunicorn."""
    _test_engine(session, "others")


def _test_engine(session: nox.Session, name: str) -> None:
    """Run the tests of one engine, in an environment without the others, whose versions may exclude its own."""
    constraints = f"{ENGINES}/constraints-{name}.txt"
    wheels = [option for package in ("apache-beam", "ray", "tensorflow") for option in ("--only-binary", package)]
    _install(session, f"test-{name}", "--constraint", constraints, *wheels)
    session.run("python", "-m", "pytest", "-p", "no:cacheprovider", "-m", f"{name} and not long", ENGINES, *session.posargs)
