"""The files of a model: from its record, else from its directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL
from tests.fakes.serving import make_model
from tfimm_resolver.cache.record import Record, hash_tree
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.errors import ArchiveError, CacheError, NotASavedModelError
from tfimm_resolver.integrations.serving.marker import FILE_NAME
from tfimm_resolver.integrations.serving.model_files import list_model_files


def test_the_files_of_a_cached_model_are_those_of_its_record(tmp_path: Path) -> None:
    make_model(tmp_path / "tree" / "2")
    record = Record("m", "tree", files=hash_tree(str(tmp_path / "tree")))
    (tmp_path / "tree" / "2" / "added").touch()
    found = list_model_files(ModelLocation(str(tmp_path / "tree"), record), "m", needs_graph=True)
    assert found.path == str(tmp_path / "tree" / "2") and found.may_link
    assert [file.path for file in found.files] == sorted(MODEL)


def test_the_same_files_are_the_same_content_wherever_they_are(tmp_path: Path) -> None:
    one, other = make_model(tmp_path / "one"), make_model(tmp_path / "other")
    assert one.content == other.content and one.size_bytes == sum(map(len, MODEL.values()))
    changed = {**MODEL, "saved_model.pb": MODEL["saved_model.pb"][::-1]}
    assert make_model(tmp_path / "changed", changed).content != one.content
    renamed = {name.replace("index", "indexes"): data for name, data in MODEL.items()}
    assert make_model(tmp_path / "renamed", renamed).content != one.content


def test_links_in_a_directory_are_followed(tmp_path: Path) -> None:
    model = make_model(tmp_path / "m")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "saved_model.pb").symlink_to(tmp_path / "m" / "saved_model.pb")
    (linked / "variables").symlink_to(tmp_path / "m" / "variables")
    found = list_model_files(ModelLocation(str(linked)), "m", needs_graph=True)
    assert found.content == model.content and not found.may_link


def test_a_link_to_a_directory_around_it_is_an_error(tmp_path: Path) -> None:
    make_model(tmp_path / "m")
    (tmp_path / "m" / "variables" / "up").symlink_to(tmp_path / "m")
    with pytest.raises(CacheError, match="link to a directory that contains it"):
        list_model_files(ModelLocation(str(tmp_path / "m")), "m", needs_graph=True)


def test_a_pipe_in_a_directory_is_an_error(tmp_path: Path) -> None:
    make_model(tmp_path / "m")
    os.mkfifo(tmp_path / "m" / "pipe")
    with pytest.raises(CacheError, match="cannot be read"):
        list_model_files(ModelLocation(str(tmp_path / "m")), "m", needs_graph=True)


def test_a_name_that_no_marker_may_hold_is_an_error(tmp_path: Path) -> None:
    make_model(tmp_path / "m")
    (tmp_path / "m" / "a\nb").touch()
    with pytest.raises(ArchiveError):
        list_model_files(ModelLocation(str(tmp_path / "m")), "m", needs_graph=True)


def test_a_published_directory_is_a_model_without_its_marker(tmp_path: Path) -> None:
    make_model(tmp_path / "m", {**MODEL, FILE_NAME: b"{}"})
    found = list_model_files(ModelLocation(str(tmp_path / "m")), "m", needs_graph=True)
    assert [file.path for file in found.files] == sorted(MODEL)


def test_what_is_in_a_bucket_is_an_error_with_advice() -> None:
    with pytest.raises(CacheError, match="not on this machine") as caught:
        list_model_files(ModelLocation("gs://bucket/m"), "m", needs_graph=False)
    assert "TFIMM_RESOLVER_LOCAL_COPY" in caught.value.fix


def test_a_directory_without_a_graph_is_refused_only_for_a_server_that_needs_one(tmp_path: Path) -> None:
    make_model(tmp_path / "m", {"weights.h5": b""})
    location = ModelLocation(str(tmp_path / "m"))
    assert list_model_files(location, "m", needs_graph=False).files
    with pytest.raises(NotASavedModelError, match=r"TensorFlow Serving could not load it\n  Give the handle of a SavedModel"):
        list_model_files(location, "m", needs_graph=True)
