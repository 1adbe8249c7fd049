"""Pinned models, and models files that name them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tfimm_resolver.models_file.discovery import FILE_NAME

PIN = hashlib.sha256(tar_gz()).hexdigest()


SIZE_BYTES = len(tar_gz())


OTHER = {"saved_model.pb": b"another graph"}


WriteModels = Callable[..., Path]


@pytest.fixture
def write_models(project: Path) -> WriteModels:
    """A function that writes a models file from the keys of each name."""

    def write(**models: dict[str, object]) -> Path:
        lines = []
        for name, keys in models.items():
            lines += [f"[models.{name}]", *(f"{key} = {value!r}" for key, value in keys.items()), ""]
        (project / FILE_NAME).write_text("\n".join(lines))
        return project / FILE_NAME

    return write


def make_pinned(handle: str, **keys: object) -> dict[str, object]:
    """Return the keys of a models file entry with the pin of the model of these tests."""
    return {"handle": handle, "sha256": PIN, "size_bytes": SIZE_BYTES, **keys}
