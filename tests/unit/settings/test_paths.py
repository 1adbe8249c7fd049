"""Tests of ``settings.paths``: the paths and object store URLs that users write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfimm_resolver.errors import CacheError, HandleError
from tfimm_resolver.settings import paths


def test_paths_are_expanded_and_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELS", "/mnt/models")
    for written, expected in (
        ("~/m", f"{Path.home()}/m"),
        ("$MODELS/m", "/mnt/models/m"),
        ("${MODELS}", "/mnt/models"),
        ("a/../m", f"{tmp_path}/m"),
        (Path("m"), f"{tmp_path}/m"),
        ("file:///mnt/a%20b", "/mnt/a b"),
        ("gs://bucket/a/", "gs://bucket/a"),
        ("s3://bucket", "s3://bucket"),
    ):
        assert paths.expand_path(written) == expected


@pytest.mark.parametrize("url", ["gs://", "gs:///a", "s3://ada:hidden@bucket/a"])
def test_a_bucket_needs_a_name_and_no_credentials(url: str) -> None:
    with pytest.raises(CacheError, match=r"has to be (gs|s3)://BUCKET/PATH, without credentials") as caught:
        paths.expand_path(url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("path", [None, 1, b"m", "a\0b", "a\ud800b", "file:///a%00b"])
def test_what_no_path_can_be_is_an_error(path: str) -> None:
    with pytest.raises(HandleError, match="path"):
        paths.expand_path(path)


def test_a_relative_path_needs_a_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(CacheError, match="the working directory was removed"):
        paths.expand_path("m")
    assert paths.expand_path("/m") == "/m"
    monkeypatch.chdir(tmp_path)


def test_bytes_that_are_not_utf8_can_be_a_path_and_other_surrogates_cannot() -> None:
    assert paths.is_encodable(os.fsdecode(b"\xff")) and not paths.is_encodable("\ud800")


def test_only_a_url_is_a_bucket() -> None:
    assert paths.is_bucket("gs://b/m") and not paths.is_bucket("/gs/b") and not paths.is_bucket("gs:b")


def test_an_output_path_may_replace_files_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link", "new"):
        paths.check_output_path(str(tmp_path / name))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to_pipe").symlink_to("pipe")
    for name, reason in (
        ("", "it is a directory"),
        ("gone/new", "its directory does not exist"),
        ("pipe", "it is not a regular file"),
        ("to_pipe", "it is not a regular file"),
    ):
        with pytest.raises(CacheError, match=reason):
            paths.check_output_path(str(tmp_path / name))


def test_streams_are_pipes_devices_and_open_descriptors(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    assert paths.is_stream(str(tmp_path / "pipe")) and paths.is_stream(os.devnull)
    assert not paths.is_stream(str(tmp_path / "file")) and not paths.is_stream(str(tmp_path / "gone"))
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    assert paths.is_stream(str(tmp_path / "stdout")), "also if the descriptor leads to a regular file"


@pytest.mark.parametrize("value", ['"/x"', "'/x'", "`/x`", ' "/x" ', '"/x', '/x"', " /x", "/x ", "/x\r", '"gs://b/m"'])
def test_quotes_and_blanks_around_the_path_in_a_variable_are_refused(value: str) -> None:
    with pytest.raises(HandleError, match=r"TFHUB_CACHE_DIR is .*: quotes or blanks are part of it") as caught:
        paths.expand_variable("TFHUB_CACHE_DIR", value)
    bare = value.strip("\"'` \r")
    assert f"Set it to {bare}, without" in caught.value.fix


@pytest.mark.parametrize("value", ['""', " ", "''"])
def test_a_variable_of_quotes_and_blanks_alone_is_refused(value: str) -> None:
    with pytest.raises(HandleError, match="Unset TFIMM_HOME"):
        paths.expand_variable("TFIMM_HOME", value)


def test_marks_inside_a_path_and_around_an_existing_absolute_one_are_part_of_it(tmp_path: Path) -> None:
    assert paths.expand_variable("X", "/home/o'brien/my models") == "/home/o'brien/my models"
    (tmp_path / "m'").mkdir()
    assert paths.expand_variable("X", f"{tmp_path}/m'") == f"{tmp_path}/m'"
