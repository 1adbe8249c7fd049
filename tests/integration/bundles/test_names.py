"""A model in a bundle must have the entry name that belongs to the handle that users see."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, member, tar_gz, tar_of
from tests.fakes.faults import NOTHING, list_kinds
from tests.fakes.origin import Origin
from tfimm_resolver import errors, resolve
from tfimm_resolver._util.clock import format_time
from tfimm_resolver.bundles import reader, writer
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.manifest import Origin as From

COMMIT = "a" * 40
CONTENT = "0" * 64
OWN = {
    "kaggle://good/m/keras/v/1": "https://www.kaggle.com/models/good/m/keras/v/1",
    "https://www.kaggle.com/models/good/m/Keras/v/1": "https://www.kaggle.com/models/good/m/keras/v/1",
    f"hf://good/m@{COMMIT}": f"hf://good/m@{COMMIT}",
    f"https://huggingface.co/good/m/tree/{COMMIT}/tf": f"hf://good/m@{COMMIT}/tf",
    "github://good/m:main": "github://github.com/good/m:main",
    "https://good.example/m/1": "https://good.example/m/1",
    "https://good.example/m.tar.gz": "https://good.example/m.tar.gz",
    "gs://good/m.tar.gz": "gs://good/m.tar.gz",
    "s3://good/m": "s3://good/m",
    "/good/m.tar.gz": f"sha256:{CONTENT}",
}
INCOMPLETE = ("https://good.example/m?…", "foo://good/m")
INVALID = ("kaggle://good/m/keras/v", "kaggle://good", "hf://good/m", f"hf://good/m@{COMMIT[:7]}", "github://good/m?…")


def forge_bundle(handle: str, key: str, into: Path) -> str:
    """Write a bundle of one model with a handle and the entry name of another key; returns its sha256."""
    data, name = b"forged", entry_name_for_key(key)
    files = (FileEntry("saved_model.pb", len(data), hashlib.sha256(data).hexdigest()),)
    record = Record(handle, name, format_time(time.time() + 3600), From("x", "", 10, CONTENT), files)
    changed_members = tar_of(
        member(name + DESCRIPTOR_SUFFIX, record.to_text("forger").encode()), member(f"{name}/saved_model.pb", data)
    )
    into.write_bytes(changed_members)
    return hashlib.sha256(changed_members).hexdigest()


@pytest.mark.parametrize("recorded", [*OWN, *INCOMPLETE, *INVALID])
def test_no_handle_can_be_used_to_replace_another_model(recorded: str, handle: str, tmp_path: Path) -> None:
    resolve(handle)
    pin = forge_bundle(recorded, handle, tmp_path / "b.tar")
    for sha256 in (None, pin):
        with pytest.raises(errors.IntegrityError, match="another model's name"):
            reader.read(tmp_path / "b.tar", sha256=sha256)
    assert files_in(resolve(handle)) == MODEL


@pytest.mark.parametrize("recorded", [*OWN, *INCOMPLETE, *INVALID])
def test_no_handle_can_be_used_to_preempt_another_model(recorded: str, handle: str, tmp_path: Path, cache_dir: Path) -> None:
    forge_bundle(recorded, handle, tmp_path / "b.tar")
    with pytest.raises(errors.IntegrityError, match="Nothing was imported"):
        reader.read(tmp_path / "b.tar")
    assert list_kinds(cache_dir) == NOTHING and files_in(resolve(handle)) == MODEL


@pytest.mark.parametrize("recorded", OWN)
def test_a_model_of_every_scheme_is_imported_under_its_own_name(recorded: str, tmp_path: Path, cache_dir: Path) -> None:
    forge_bundle(recorded, OWN[recorded], tmp_path / "b.tar")
    assert [one.path for one in reader.read(tmp_path / "b.tar")] == [f"{cache_dir}/{entry_name_for_key(OWN[recorded])}"]
    (model,) = writer.write(
        [recorded if "://" in recorded else entry_name_for_key(OWN[recorded])], tmp_path / "again.tar"
    ).models
    assert model.facts()["handle"] == recorded


@pytest.mark.parametrize("recorded", INCOMPLETE)
def test_an_incomplete_handle_is_accepted_only_from_a_pinned_bundle(recorded: str, tmp_path: Path) -> None:
    pin = forge_bundle(recorded, "https://good.example/m?signature=secret", tmp_path / "b.tar")
    with pytest.raises(errors.IntegrityError, match=r"sha256 that bundles.export\(\) returned"):
        reader.read(tmp_path / "b.tar")
    with pytest.raises(errors.IntegrityError, match=r"a different sha256(?s:.*)Copy the bundle again"):
        reader.read(tmp_path / "b.tar", sha256="1" * 64)
    assert [reader.read(tmp_path / "b.tar", sha256=pin)[0].state for _ in range(2)] == ["imported", "cached"]


def test_export_warns_if_import_will_require_the_sha256(
    origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer.write([origin.put("/signed.tar.gz?signature=secret", tar_gz())], tmp_path / "b.tar")
    assert "its import requires the sha256" in caplog.text and "secret" not in caplog.text


def test_a_model_that_cannot_be_imported_is_not_exported(origin: Origin, tmp_path: Path) -> None:
    plain = origin.put("/m.tar.gz", tar_gz())
    with pytest.raises(errors.CacheError, match="user and password") as caught:
        writer.write([plain.replace("://", "://user:secret@")], tmp_path / "b.tar")
    assert "secret" not in str(caught.value) and not (tmp_path / "b.tar").exists()
    assert len(writer.write([plain], tmp_path / "b.tar").models) == 1, "without the password it is another handle"
