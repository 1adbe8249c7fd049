"""Tests of ``cli.diagnosis.software``: ``doctor`` finds packages that do not work together, and does not import them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fakes.diagnosis import PLAIN, diagnose, read_findings
from tests.fakes.processes import run
from tfimm_resolver.cli.diagnosis import software
from tfimm_resolver.integrations import tensorflow_hub


def install(folder: Path, package: str, version: str) -> None:
    """Put the metadata of a package into a directory, as if it were installed there."""
    metadata = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory whose packages come before all others."""
    path = tmp_path / "packages"
    path.mkdir()
    monkeypatch.syspath_prepend(str(path))
    return path


@pytest.mark.parametrize(
    ("package", "version", "is_right"),
    [("tensorflow-hub", "0.12.0", False), ("tensorflow-hub", "0.17.0.dev1", True), ("urllib3", "1.26.5", False)],
)
def test_a_version_that_is_too_old(package: str, version: str, is_right: bool, packages: Path) -> None:
    install(packages, package, version)
    problems, _ = diagnose()
    assert [*problems] == ([] if is_right else ["version"])
    assert is_right or (package in problems["version"] and version in problems["version"])


@pytest.mark.parametrize(
    ("setuptools", "hub", "python", "is_found"),
    [
        ("65.5.0", "0.16.1", (3, 12), True),
        ("66.0.0", "0.16.1", (3, 13), True),
        ("66.1.0", "0.16.1", (3, 12), False),
        ("82.0.0", "0.16.1", (3, 12), False),
        ("65.5.0", "0.16.1", (3, 11), False),
        ("65.5.0", None, (3, 12), False),
        (None, "0.16.1", (3, 12), False),
        ("unknown (ValueError)", "0.16.1", (3, 12), False),
    ],
)
def test_setuptools_that_this_python_cannot_import(
    setuptools: str | None, hub: str | None, python: tuple[int, int], is_found: bool
) -> None:
    versions = {"setuptools": setuptools, "tensorflow-hub": hub}
    assert [one.code for one in software.check_pkg_resources(versions.get, python)] == ["setuptools"] * is_found


def test_a_too_old_setuptools_is_found_where_it_matters(packages: Path) -> None:
    install(packages, "setuptools", "65.0.0")
    install(packages, "tensorflow-hub", "0.16.1")
    assert [*diagnose()[0]] == ["setuptools"] * (sys.version_info >= (3, 12))


def test_a_plug_in_that_is_not_registered() -> None:
    problems, _ = read_findings(run("import tfimm_resolver\ntfimm_resolver.unregister()\n" + PLAIN))
    assert list(problems) == ["not-registered"]
    assert read_findings(run("import tfimm_resolver\ntfimm_resolver.register()\n" + PLAIN)) == ({}, {})


def test_the_registry_of_tensorflow_hub_decides_once_it_is_imported(tmp_path: Path) -> None:
    package = tmp_path / "packages" / "tensorflow_hub"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from tensorflow_hub import registry\n")
    (package / "registry.py").write_text(
        "class Registry:\n    _impls = []\n    def add_implementation(self, one):\n        self._impls.append(one)\n"
        "resolver = Registry()\n"
    )
    code = f"import sys\nsys.path.insert(0, {str(package.parent)!r})\nimport tfimm_resolver, tensorflow_hub\n"
    assert "not-registered" not in read_findings(run(code + PLAIN))[0]
    assert "not-registered" in read_findings(run(code + "tensorflow_hub.registry.resolver._impls.clear()\n" + PLAIN))[0]


def test_broken_metadata_is_not_an_error(packages: Path) -> None:
    broken = packages / "kagglehub-1.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_bytes(b"\xff\xfe\x00")
    assert diagnose() == ({}, {})


def test_none_of_the_packages_is_imported() -> None:
    code = "import sys\nfrom tfimm_resolver.cli import main\nmain(['doctor'])\nmain(['env'])\nprint(*sys.modules)\n"
    loaded = set(run(code).split())
    assert loaded.isdisjoint(
        {"tensorflow", "tensorflow_hub", "keras", "tf_keras", "numpy", "huggingface_hub", "pkg_resources"}
    )


def test_it_is_registered_here() -> None:
    assert tensorflow_hub.is_registered()
