"""Versions of Python and of the packages that matter, and which of them do not work together; none of them is imported."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

from tfimm_resolver import __version__
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cli.diagnosis.findings import Finding, make_problem
from tfimm_resolver.integrations import tensorflow_hub
from tfimm_resolver.sources.registry import SCHEMES, list_schemes

PACKAGES = (
    *("tensorflow", "tensorflow-hub", "keras", "tf-keras", "numpy", "h5py", "protobuf", "setuptools", "tfimm"),
    *("huggingface-hub", "kagglehub", "obstore", "google-auth", "botocore"),
    *("urllib3", "certifi", "isal", "absl-py", "click", "rich", "packaging"),
)
"""The packages whose versions are reported; Python's index spells them so."""

_EXTRAS = ("", "tensorflow", "gs", "hf", "s3")
"""The extras of this package whose requirements are checked, if what they require is installed."""

_PKG_RESOURCES_MIN, _WITHOUT_IMP_IMPORTER = "66.1", (3, 12)
"""The first setuptools whose pkg_resources can be imported by the Python that removed pkgutil.ImpImporter."""


def get_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
    except Exception as error:  # its metadata is broken
        return f"unknown ({type(error).__name__})"


def collect_facts() -> dict[str, Any]:
    """Return the versions, and the state of the plug-in."""
    return {
        "tfimm_resolver": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "executable": sys.executable,
        "packages": {package: get_version(package) for package in PACKAGES},
        "plugin": {
            "registered": tensorflow_hub.is_registered(),
            "resolvers": tensorflow_hub.list_resolvers(),
            "schemes": [scheme for scheme in list_schemes() if scheme not in SCHEMES],
        },
    }


def check_software() -> Iterator[Finding]:
    """Yield what does not work together, and whether tensorflow_hub uses this package."""
    yield from _check_requirements()
    yield from check_pkg_resources(get_version, sys.version_info[:2])
    if not tensorflow_hub.is_registered():
        text = "tensorflow_hub does not use this package: its resolver is not registered"
        yield make_problem(
            "not-registered",
            text,
            "import this package before a model is loaded, and do not undo the registration",
        )


def check_pkg_resources(find_version: Callable[[str], str | None], python: tuple[int, int]) -> Iterator[Finding]:
    """Yield a problem if tensorflow_hub, which imports pkg_resources, gets one that this Python cannot import."""
    from packaging.version import InvalidVersion, Version

    version = find_version("setuptools")
    if version is None or find_version("tensorflow-hub") is None or python < _WITHOUT_IMP_IMPORTER:
        return
    try:
        is_old = Version(version) < Version(_PKG_RESOURCES_MIN)
    except InvalidVersion:
        return
    if is_old:
        text = (
            f"setuptools {show(version)} does not work with Python {python[0]}.{python[1]}: tensorflow_hub cannot be imported"
        )
        yield make_problem("setuptools", text, f'pip install --upgrade "setuptools>={_PKG_RESOURCES_MIN}"')


def _check_requirements() -> Iterator[Finding]:
    """Yield a problem for each installed package that is older, or newer, than this package requires."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion

    seen = set[str]()
    for text in _list_requirements():
        try:
            requirement = Requirement(text)
            version = get_version(requirement.name)
            applies = requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in _EXTRAS)
            is_met = version is None or requirement.specifier.contains(version, prereleases=True)
        except (InvalidRequirement, InvalidVersion):
            continue
        if applies and not is_met and requirement.name not in seen:
            seen.add(requirement.name)
            needed = f"{requirement.name}{requirement.specifier}"
            found = f"{requirement.name} {show(version)} is installed, but {needed} is needed"
            yield make_problem("version", found, f'pip install "{needed}"')


def _list_requirements() -> list[str]:
    try:
        return metadata.requires("tfimm_resolver") or []
    except metadata.PackageNotFoundError:  # in a zip or a frozen program
        return []
