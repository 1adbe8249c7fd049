"""Tests of ``resolution.unknown_handles``: where was looked, what is there instead, what was probably meant."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.foreign_files import POINTER
from tests.fakes.named_models import put_model
from tfimm_resolver import settings
from tfimm_resolver.errors import UnknownHandleError


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    settings.set_dir(tmp_path / "names")


def fail(text: str) -> UnknownHandleError:
    """Return the error of a handle that leads to no model."""
    with pytest.raises(UnknownHandleError) as caught:
        tfimm_resolver.resolve(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("hf:ada/m", "Did you mean hf://ada/m ?"),
        ("ada/m", "Did you mean hf://ada/m or github://ada/m ?"),
        ('"resnet18"', "Did you mean resnet18 ?"),
        ("timm://resnet18/x", "Did you mean hf://resnet18/x ?"),
        ("git+https://github.com/ada/m.git", "Did you mean github://ada/m ?"),
        ("htps://host/m", "Did you mean https://host/m ?"),
        ("local-dir:/data/m", "Write the path alone, without local-dir: /data/m"),
        ("no_such_model", "Use a URL or a path"),
        ("./no_such_model", "Check the spelling of the path"),
        ("/no/such/model.zip", "Check the spelling of the path"),
        ("my-bucket/models/bert", "A path in a bucket is written gs://my-bucket/models/bert or s3://my-bucket/models/bert"),
        (
            "my-bucket.s3.amazonaws.com/m.zip",
            "Did you mean s3://my-bucket/m.zip or https://my-bucket.s3.amazonaws.com/m.zip ?",
        ),
        (
            "storage.googleapis.com/my-bucket/m",
            "Did you mean gs://my-bucket/m or https://storage.googleapis.com/my-bucket/m ?",
        ),
        ("arn:aws:s3:::my-bucket/m", "Did you mean s3://my-bucket/m ?"),
        ("s3a:/my-bucket/m", "Did you mean s3a://my-bucket/m ?"),
        ("dbfs:/models/m", "Did you mean /dbfs/models/m ?"),
        ("az://c/m.zip", "Azure Blob Storage is read by https: write the URL of an archive, https://ACCOUNT.blob"),
        (
            "abfss://c@acc.dfs.core.windows.net/m.zip",
            "Azure Blob Storage is read by https: write the URL of an archive, https://acc",
        ),
    ],
)
def test_a_slip_is_named(text: str, fix: str) -> None:
    assert fail(text).fix.startswith(fix)


def test_a_host_is_not_taken_for_a_bucket() -> None:
    for text in ("my-bucket.s3.amazonaws.com/a/m.zip", "models.example.org/a/m.zip"):
        assert "A path in a bucket" not in fail(text).fix
    assert "gs://my.bucket.models/a/m.zip" in fail("my.bucket.models/a/m.zip").fix


def test_a_directory_that_is_there_is_not_taken_for_a_bucket() -> None:
    (Path.cwd() / "my-bucket").mkdir()
    assert "gs://" not in fail("my-bucket/models/bert").fix
    assert "gs://my-bucket/m.zip" not in fail("my-bucket/m.zip").fix and "gs://a-bucket/m.zip" in fail("a-bucket/m.zip").fix


def test_a_missing_archive_in_a_directory_that_is_there_is_not_taken_for_a_handle() -> None:
    (Path.cwd() / "models").mkdir()
    assert fail("models/m.tar.gz").fix.startswith("Check the spelling of the path")
    assert fail("ada/m.tar.gz").fix.startswith("Did you mean hf://ada/m.tar.gz")


def test_a_path_that_may_not_be_seen_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, stat = str(tmp_path / "closed/m"), os.stat

    def deny(file: object, *args: object, **options: object) -> object:
        if file == path:  # root sees all
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return stat(file, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", deny)
    error = fail(path)
    assert f"looked at: {path} (Permission denied)" in error.text and error.fix.startswith("Correct the permissions")


@pytest.mark.parametrize("text", ["C:\\models\\m", "C:/models/m", "c://models/m", "\\\\server\\share\\m"])
def test_a_path_of_windows_is_explained_elsewhere(text: str) -> None:
    error = fail(text)
    assert "This is a path of Windows" in error.fix
    assert ("/mnt/c/models/m" in error.fix) == (text[1] == ":")


def test_a_file_whose_name_has_a_backslash_is_found() -> None:
    path = put_model(Path.cwd() / "a\\b")
    assert tfimm_resolver.resolve("a\\b") == str(path)


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"weights.h5": b"x"}, "has weights.h5: an HDF5 file"),
        ({"m.index": b"x", "checkpoint": b"x"}, "has checkpoint: a TensorFlow checkpoint"),
        ({"model.keras": b"x"}, "has model.keras: a Keras file"),
        ({"README.md": b"x"}, "is not a complete SavedModel: saved_model.pb is missing"),
        (
            {"saved_model.pb": b"x", "variables/variables.index": b"x"},
            "is not a complete SavedModel: variables/variables.data-00000-of-00001 is",
        ),
        ({"saved_model.pb": POINTER, "variables/x": b"x"}, "has saved_model.pb: a Git LFS pointer"),
    ],
)
def test_what_a_directory_of_that_name_has_instead_is_said(files: dict[str, bytes], what: str, tmp_path: Path) -> None:
    path = put_model(tmp_path / "names/m", files)
    error = fail("m")
    assert f"{path} {what}" in error.text.replace("is not a SavedModel, but ", "")
    assert tfimm_resolver.cached_model_path("m") is None


def test_what_a_suggested_directory_has_is_said(tmp_path: Path) -> None:
    path = put_model(tmp_path / "elsewhere", {"weights.h5": b"x"})
    assert "has weights.h5" in fail(f"local-dir:{path}").text
