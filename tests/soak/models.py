"""The models that are served: each version has files that show which it is."""

from __future__ import annotations

import hashlib
import os

from tests.fakes.archives import tar_gz

MODELS, VERSIONS = 8, 4
SIZE_BYTES = 60_000
NAMES = {"saved_model.pb": 64, "variables/variables.index": 64, "assets/large": SIZE_BYTES}


def make_files(model: int, version: int) -> dict[str, bytes]:
    """Return the files of a version; each byte depends on model, version and name."""
    return {name: _fill(model, version, name, size_bytes) for name, size_bytes in NAMES.items()}


def make_archive(model: int, version: int) -> bytes:
    """Return the archive of a version."""
    return tar_gz(make_files(model, version))


def read_version(path: str, model: int) -> int:
    """Return the version whose files a directory has; raises AssertionError if it has those of none, or of several."""
    found = {name: _read(f"{path}/{name}") for name in NAMES}
    listed = {os.path.relpath(os.path.join(folder, name), path) for folder, _, names in os.walk(path) for name in names}
    assert listed == set(NAMES), f"{path} has other files: {sorted(listed)}"
    versions = [version for version in range(VERSIONS) if found == make_files(model, version)]
    assert versions, f"{path} is a mixture, or not complete"
    return versions[0]


def _fill(model: int, version: int, name: str, size_bytes: int) -> bytes:
    digest = hashlib.sha256(f"{model} {version} {name}".encode()).hexdigest()
    return (digest * (size_bytes // len(digest) + 1))[:size_bytes].encode()


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
