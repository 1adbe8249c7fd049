"""Tests of ``maintenance.naming``: the names under which cached models are listed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.models_file import make_entry, write
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tfimm_resolver import maintenance, resolve
from tfimm_resolver.cache import tiers
from tfimm_resolver.maintenance import naming


def test_a_handle_names_its_entry_unless_the_models_file_gives_it_to_another(handle: str) -> None:
    entries = list(tiers.open_cache().entries())
    assert [*naming.choose_entry_names(entries).values()] == [handle]


@pytest.mark.parametrize("name", [" m", "a\x1b[2Jm", "m#sha256=x", ""])
def test_a_name_that_would_be_parsed_as_another_is_not_usable(name: str) -> None:
    assert not naming.is_usable(name)


def test_a_directory_is_named_by_its_path_if_the_models_file_has_its_name(project: Path) -> None:
    assert naming.choose_directory_name("/models/resnet18") == "resnet18"
    write(project, make_entry("resnet18"))
    assert naming.choose_directory_name("/models/resnet18") == "/models/resnet18"
    assert naming.choose_directory_name("/models/a\nb") is None


@pytest.mark.parametrize(
    "archive", [tar_gz({"saved_model.pb": b"longer than before"}), tar_gz({"saved_model.pb": b"gRaph!!"})]
)
def test_an_archive_that_may_have_changed_is_named_by_its_version(archive: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.tgz"
    path.write_bytes(tar_gz())
    cached = resolve(str(path))
    (before,) = maintenance.list()
    path.write_bytes(archive)
    (after,) = maintenance.list()
    assert before.name == str(path) and after.name == f"{path}#sha256={hashlib.sha256(tar_gz()).hexdigest()}"
    assert resolve(after.name) == cached


def test_a_name_that_looks_like_an_option_is_not_printed(tmp_path: Path) -> None:
    assert naming.choose_directory_name(f"{tmp_path}/-dash") == f"{tmp_path}/-dash"
